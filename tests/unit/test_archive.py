"""Archives of checkpoints: read back as they were written; and everything that may be wrong with one is refused."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support import zstd
from wherry import errors
from wherry.runtime import archive, removal
from wherry.runtime import checkpoint as disk
from wherry.runtime import tar as archive_tar

Add = Callable[[tarfile.TarFile], None]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkpoint's directory with what any user may make in a layer."""
    source = tmp_path / "source"
    for name in ("image", "pre-0", "pre-1", "work", "layer/upper/srv/deep"):
        (source / name).mkdir(parents=True)
    (source / "checkpoint.json").write_text('{"version": 1, "id": "job"}')
    (source / "image/inventory.img").write_bytes(b"image")
    (source / "image/parent").symlink_to("../pre-1")
    (source / "pre-0/pages-1.img").write_bytes(bytes(3 << 20) + b"x")
    (source / "pre-1/pages-1.img").write_bytes(b"")
    (source / "work/dump.log").write_text("words")
    upper = source / "layer/upper"
    (upper / "srv/file").write_bytes(os.urandom(100_000))
    os.link(upper / "srv/file", upper / "srv/deep/link")
    (upper / "srv/outside").symlink_to("/etc/passwd")
    (upper / os.fsdecode(b"srv/\xff\n")).write_bytes(b"odd")
    os.mkfifo(upper / "srv/fifo")
    os.mknod(upper / "srv/socket", stat.S_IFSOCK | 0o600)
    os.setxattr(upper / "srv/file", "user.note", b"\xff\x00\n")
    (upper / "srv/file").chmod(0o4751)
    (upper / "srv/deep").chmod(0o1777)
    os.utime(upper / "srv", (1_000_000_000, 1_000_000_000))
    return source


def write(source: Path) -> bytes:
    """Return the archive of a checkpoint."""
    packed = io.BytesIO()
    archive.write(source, packed)
    return packed.getvalue()


def read(data: bytes, target: Path, **options: Any) -> dict[str, Any]:
    """Unpack an archive into `target`, which is made; return its facts."""

    def begin(_facts: dict[str, Any]) -> Path:
        (target / "image").mkdir(parents=True)
        return target

    directory, facts = archive.read(cast("BinaryIO", io.BytesIO(data)), begin, **options)
    assert directory == target
    return facts


def look(top: Path) -> dict[str, object]:
    """Return everything below `top`, and what is known of it."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        names = os.listxattr(path, follow_symlinks=False)
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
        found[str(path.relative_to(top))] = (
            stat.S_IFMT(status.st_mode), oct(stat.S_IMODE(status.st_mode)), status.st_uid, status.st_gid,
            int(status.st_mtime), content, xattrs,
        )  # fmt: skip
    return found


def pack(*adds: Add, facts: object = None, end: bool = True, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive with members of one's own after the facts."""
    packed = io.BytesIO()
    with zstd.ZstdFile(packed, "w") as file, tarfile.open(fileobj=file, mode="w|", format=form) as tar:
        add(archive.FACTS, json.dumps({"format": 1} if facts is None else facts).encode())(tar)
        add("image/inventory.img", b"image")(tar)
        for item in adds:
            item(tar)
        if end:
            add(archive.END)(tar)
    return packed.getvalue()


def add(name: str, data: bytes = b"", **fields: Any) -> Add:
    """Return what adds a member; `fields` are those of a TarInfo."""

    def work(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        for key, value in fields.items():
            setattr(member, key, value)
        tar.addfile(member, io.BytesIO(data))

    return work


def directory(name: str) -> Add:
    """Return what adds a directory."""
    return add(name, type=tarfile.DIRTYPE, mode=0o755)


UPPER = directory("layer/upper")


def test_what_is_written_is_read_back(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert read(write(source), target) == {"format": 1, "version": 1, "id": "job"}
    assert look(target / "layer") == look(source / "layer")
    images = ("image/inventory.img", "pre-0/pages-1.img", "pre-1/pages-1.img")
    assert [(target / name).read_bytes() for name in images] == [(source / name).read_bytes() for name in images]
    assert (target / "pre-0/pages-1.img").stat().st_blocks < 100, "a hole was filled"
    assert os.readlink(target / "image/parent") == "../pre-1"
    assert os.readlink(target / "pre-1/parent") == "../pre-0"
    assert not (target / "work").exists()
    link, file = (target / "layer/upper/srv" / name for name in ("deep/link", "file"))
    assert link.stat().st_ino == file.stat().st_ino


@pytest.mark.parametrize(
    ("adds", "said"),
    [
        ([add("../escape", b"x")], "'../escape' is no name"),
        ([add("/etc/escape", b"x")], "is no name"),
        ([UPPER, add("layer/upper/../../../escape", b"x")], "is no name"),
        ([UPPER, add("layer/upper//x", b"x")], "is no name"),
        ([UPPER, add("layer/upper/" + "n" * 300, b"x")], "is no name"),
        ([add("checkpoint.json", b"{}")], "is no member"),
        ([add("work/dump.log", b"x")], "is no member"),
        ([add("image/deep/x.img", b"x")], "is no member"),
        ([add("image/.hidden", b"x")], "is no member"),
        ([add("pre-0/parent", b"x"), add("pre-1/parent", b"x")], "is no member"),
        ([add("pre-16/x.img", b"x")], "is no member"),
        ([add("pre-1/x.img", b"x")], "round 0 of pre-copy is missing"),
        ([add("image/core-1.img", type=tarfile.SYMTYPE, linkname="/etc/shadow")], "is no regular file"),
        ([add("image/core-1.img", type=tarfile.LNKTYPE, linkname="/etc/shadow")], "is no regular file"),
        ([add("image/core-1.img", type=tarfile.CHRTYPE)], "is no regular file"),
        ([add("image/core-1.img", type=tarfile.FIFOTYPE)], "is no regular file"),
        ([add("image/core-1.img", type=tarfile.BLKTYPE, devmajor=8)], "is of type"),
        ([add("image/core-1.img", type=b"S")], "is of type"),
        ([add("image/core-1.img", b"a"), add("image/core-1.img", b"b")], "comes twice"),
        ([directory("layer/lower")], "is no layer"),
        ([add("layer/upper", type=tarfile.SYMTYPE, linkname="/")], "is no layer"),
        ([UPPER, UPPER], "comes twice"),
        ([UPPER, add("layer/upper/a/b", b"x")], "comes before its directory"),
        (
            [UPPER, add("layer/upper/l", type=tarfile.SYMTYPE, linkname="/tmp"), add("layer/upper/l/x", b"x")],
            "comes before its directory",
        ),
        ([UPPER, add("layer/upper/l", type=tarfile.SYMTYPE, linkname="/t"), directory("layer/upper/l")], "comes twice"),
        ([UPPER, add("layer/upper/h", type=tarfile.LNKTYPE, linkname="/etc/shadow")], "which is no file before it"),
        ([UPPER, add("layer/upper/h", type=tarfile.LNKTYPE, linkname="layer/upper")], "which is no file before it"),
        (
            [UPPER, add("layer/upper/h", type=tarfile.LNKTYPE, linkname="image/inventory.img")],
            "which is no file before it",
        ),
        ([UPPER, add("layer/upper/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "is a device"),
        ([UPPER, add("layer/upper/sda", type=tarfile.BLKTYPE, devmajor=8)], "is of type"),
        ([UPPER, add("layer/upper/x", uid=2**32 - 1)], "has owner"),
        ([UPPER, add("layer/upper/x", gid=2**33)], "has group"),
        ([UPPER, add("layer/upper/x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/root"})], "attribute"),
        ([UPPER, add("layer/upper/x", pax_headers={"SCHILY.xattr.trusted.overlay.metacopy": ""})], "attribute"),
        ([UPPER, add("layer/upper/x", pax_headers={"SCHILY.xattr.security.selinux": "x"})], "attribute"),
        ([add("image/x.img", b"", pax_headers={"linkpath": "x" * (2 << 20)})], "an extended header of"),
        ([add("image/x.img", b"", pax_headers={"GNU.sparse.major": "1"})], "an extended header 'GNU.sparse.major'"),
        ([add("image/x.img", b"", pax_headers={"comment": "x"})], "an extended header 'comment'"),
        ([add("x", b"11 path=ab\n", type=tarfile.XHDTYPE), add("x", b"", type=tarfile.XHDTYPE)], "is of type b'x'"),
        ([add("layer/upper", type=tarfile.DIRTYPE, pax_headers={"size": "5"})], "'layer/upper' of 5 bytes"),
        ([add(archive.END), add("image/late.img", b"x")], "something behind its end"),
    ],
)
def test_what_does_not_belong_is_refused(adds: list[Add], said: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match=said):
        read(pack(*adds), tmp_path / "in/target")
    assert not (tmp_path / "escape").exists()
    assert not Path("/etc/escape").exists()


def test_a_claim_of_ten_gigabytes_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    header = tarfile.TarInfo("image/pages-1.img")
    header.size = 10 * 10**9
    data = pack(lambda tar: cast("Any", tar).fileobj.write(header.tobuf(tarfile.PAX_FORMAT)), end=False)
    with pytest.raises(errors.ResourceExhausted, match=r"'image/pages-1\.img' of 10000000000 bytes"):
        read(data, tmp_path / "target", max_bytes=10**9)
    assert not (tmp_path / "target/image/pages-1.img").exists()


def test_many_that_fit_one_by_one_do_not_fit_together(tmp_path: Path) -> None:
    members = [add(f"image/pages-{number}.img", bytes(400)) for number in range(3)]
    with pytest.raises(errors.ResourceExhausted, match="does not fit"):
        read(pack(*members), tmp_path / "target", max_bytes=1000)


def test_long_headers_of_directories_take_no_memory(tmp_path: Path) -> None:
    many = [
        add(f"layer/upper/{number}", type=tarfile.DIRTYPE, pax_headers={"linkpath": "x" * 900_000})
        for number in range(100)
    ]
    data = pack(UPPER, *many)
    tracemalloc.start()
    try:
        read(data, tmp_path / "target")
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header",
    [
        b"1" * archive_tar.MAX_HEADER,  # a search for a record in it would begin anew at each digit
        b"2 " * (archive_tar.MAX_HEADER // 2 - 1) + b"2=",  # of each of these records the rest would be the key
        b"9999999 path=x\n", b"8 path=x\n", b"12 path=x\n\n", b"0 path=x\n", b"7 path\n", b"9 path=x\n" * 2,
        b"12 uid=1_00\n", b"11 size=-1\n", b"11 mtime=x\n",
    ],
)  # fmt: skip
def test_an_extended_header_of_nonsense_takes_no_memory_and_is_refused(header: bytes, tmp_path: Path) -> None:
    data = pack(add("x", header, type=tarfile.XHDTYPE), add("image/x.img"))
    tracemalloc.start()
    try:
        with pytest.raises(errors.DataLoss, match="is damaged"):
            read(data, tmp_path / "target")
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_attributes_take_space_too(tmp_path: Path) -> None:
    attributes = {f"SCHILY.xattr.user.{number}": "x" * 1000 for number in range(3)}
    with pytest.raises(errors.ResourceExhausted, match="does not fit"):
        read(pack(UPPER, add("layer/upper/x", pax_headers=attributes)), tmp_path / "target", max_bytes=10_500)


def test_names_are_bounded_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_NAMES", 10_000)
    with pytest.raises(errors.InvalidArgument, match="longer than 10000 bytes in all"):
        read(pack(UPPER, *(add(f"layer/upper/{number:0200}") for number in range(60))), tmp_path / "target")


def test_what_is_empty_takes_space_too(tmp_path: Path) -> None:
    empty = (add(f"layer/upper/{number}") for number in range(300))
    data = pack(UPPER, *empty)
    with pytest.raises(errors.ResourceExhausted, match="does not fit"):
        read(data, tmp_path / "target", max_bytes=10**6)


def test_deep_directories_are_counted_and_removed(tmp_path: Path) -> None:
    names = ["layer/upper" + "/d" * depth for depth in range(1, 1500)]
    read(pack(UPPER, *map(directory, names)), tmp_path / "target")
    assert disk.count_bytes(tmp_path / "target") > 0
    removal.remove_tree(tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"format": 2}, "of format 2, this version reads 1"),
        ({}, "of format None"),
        ([], "is no object"),
        ({"format": 1, "big": "x" * (2 << 20)}, "has 2"),
    ],
)
def test_facts_of_another_kind_are_refused(facts: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match=said):
        read(pack(facts=facts), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_gnu_long_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="is of type b'L'"):
        read(pack(add("image/" + "x" * 120), form=tarfile.GNU_FORMAT), tmp_path / "target")


@pytest.mark.parametrize(
    "data", [b"", b"x" * 1000, zstd.compress(b""), zstd.compress(bytes(1 << 20)), b"\x28\xb5\x2f\xfd"]
)
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises((errors.DataLoss, errors.InvalidArgument)):
        read(data, tmp_path / "target")


def test_one_that_is_cut_off_anywhere_is_refused(source: Path, tmp_path: Path) -> None:
    data = write(source)
    for number, length in enumerate(range(1, len(data), 997)):
        with pytest.raises((errors.DataLoss, errors.InvalidArgument)):
            read(data[:length], tmp_path / str(number))
    with pytest.raises(errors.DataLoss, match="ended before"):
        read(data[:-1], tmp_path / "last")


def test_one_without_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.DataLoss, match="its end is missing"):
        read(pack(end=False), tmp_path / "target")


def test_one_with_a_flipped_bit_is_refused(source: Path, tmp_path: Path) -> None:
    data = bytearray(write(source))
    for number, place in enumerate(range(0, len(data), 1009)):
        data[place] ^= 4
        with pytest.raises(errors.WherryError):
            read(bytes(data), tmp_path / str(number))
        data[place] ^= 4


@settings(max_examples=200, deadline=None)
@given(some.binary(max_size=3000), some.integers(0, 3000))
def test_any_bytes_in_it_are_refused_or_taken_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int
) -> None:
    inside = bytearray(zstd.decompress(pack(UPPER, add("layer/upper/x", b"data"))))
    inside[place : place + len(noise)] = noise
    target = tmp_path_factory.mktemp("noise")
    try:
        read(zstd.compress(bytes(inside)), target / "target")
    except errors.WherryError:
        pass
    assert set(os.listdir(target)) <= {"target"}


@pytest.mark.requires("root")
def test_a_device_in_a_layer_is_not_exported(source: Path) -> None:
    os.mknod(source / "layer/upper/null", stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(errors.FailedPrecondition, match="layer/upper/null is a device"):
        write(source)
