"""Bad input: one clear error of the right class, nothing left behind, the daemon unharmed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import SLOW, World, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req

BAD_IDS = ["a/b", "..", "../../etc", "a\nb", "x" * 200, ".hidden", "-x", "a b", "ä", "\0"]


async def _check_refused(
    client: Client, call: Callable[[Any], Any], argument: object, kind: type[errors.WherryError], word: str = ""
) -> errors.WherryError:
    """Check that a call raises exactly this class, with one line that names `word`, and leaves nothing."""
    with pytest.raises(errors.WherryError) as caught:
        async with asyncio.timeout(20 * SLOW):
            await call(argument)
    error = caught.value
    assert type(error) is kind, (type(error), error.message)
    assert word in error.message
    assert "Traceback" not in error.message
    assert "\n" not in error.message
    assert len(error.message) < 5000
    assert await client.containers(all_namespaces=True) == ()
    return error


@scenario
async def test_bad_ids_never_reach_a_path(world: World) -> None:
    world.start()
    async with world.client() as client:
        service = client.service
        for bad in BAD_IDS:
            request = req.CreateRequest(id=bad, args=("true",))
            await _check_refused(client, service.run, request, errors.InvalidArgument)
            ref = req.ContainerRef(id=bad)
            await _check_refused(client, service.get, ref, errors.InvalidArgument)
            spaced = req.CreateRequest(id="x", namespace=bad, args=("true",))
            await _check_refused(client, service.run, spaced, errors.InvalidArgument)
        for call in (service.get, service.start):
            await _check_refused(client, call, req.ContainerRef(id=""), errors.InvalidArgument)
        empty = req.DeleteRequest(id="", force=True)
        await _check_refused(client, service.delete, empty, errors.InvalidArgument)
        await service.run(world.request("a"))
        for bad in [*BAD_IDS, "init"]:
            with pytest.raises((errors.InvalidArgument, errors.AlreadyExists)):
                await service.exec(req.ExecRequest(id=world.id("a"), process=bad, args=("true",)))
        assert len((await service.get(world.ref("a"))).processes) == 1
        assert sorted(path.name for path in world.directory("a").parent.iterdir()) == ["init", "state.json"]


@pytest.mark.parametrize("bad", ["a/b", "..", "a\nb", "x" * 200, ""])
def test_bad_id_on_the_command_line_is_one_line_and_125(world: World, bad: str) -> None:
    world.start()
    done = world.cli("run", "--name", bad, "host", "--", "true")
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.startswith("wherry")
    assert "Traceback" not in done.stderr
    assert world.cli("rm", "-f", bad).returncode in (2, 125)


def _write(text: str | bytes) -> Callable[[Path], object]:
    data = text.encode() if isinstance(text, str) else text
    return lambda bundle: (bundle / "config.json").write_bytes(data)


BUNDLES: dict[str, tuple[Callable[[Path], object], type[errors.WherryError]]] = {
    "missing": (lambda bundle: bundle.rmdir(), errors.NotFound),
    "without config.json": (lambda bundle: (bundle / "other").touch(), errors.NotFound),
    "empty": (_write(""), errors.InvalidArgument),
    "torn": (_write('{"ociVersion": "1.0.2", "process": {"ar'), errors.InvalidArgument),
    "list": (_write("[]"), errors.InvalidArgument),
    "number": (_write("7"), errors.InvalidArgument),
    "object": (_write("{}"), errors.InvalidArgument),
    "process is a number": (_write('{"ociVersion":"1.0.2","root":{"path":"r"},"process":5}'), errors.InvalidArgument),
    "args are numbers": (
        _write('{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"cwd":"/","args":[1]}}'),
        errors.InvalidArgument,
    ),
    "deep": (_write("[" * 100_000), errors.InvalidArgument),
    "deep object": (_write('{"a":' * 50_000 + "1" + "}" * 50_000), errors.InvalidArgument),
    "huge": (_write(b'{"a":"' + b"x" * 10_000_000 + b'"}'), errors.InvalidArgument),
    "binary": (_write(bytes(range(256))), errors.InvalidArgument),
    "NaN": (_write('{"ociVersion":"1.0.2","root":{"path":"r"},"process":NaN}'), errors.InvalidArgument),
    "FIFO": (lambda bundle: os.mkfifo(bundle / "config.json"), errors.InvalidArgument),
    "directory": (lambda bundle: (bundle / "config.json").mkdir(), errors.InvalidArgument),
    "device": (lambda bundle: (bundle / "config.json").symlink_to("/dev/zero"), errors.InvalidArgument),
}


@scenario
async def test_absurd_bundles_are_refused_by_name(world: World) -> None:
    world.start()
    async with world.client() as client:
        for number, (name, (make, kind)) in enumerate(BUNDLES.items()):
            bundle = world.base / f"bundle{number}"
            bundle.mkdir()
            make(bundle)
            request = world.request("a", source=req.Source(kind="bundle", path=str(bundle)))
            request = req.CreateRequest(id=request.id, source=request.source)
            try:
                await _check_refused(client, client.service.run, request, kind, str(bundle))
            except BaseException as error:
                error.add_note(f"bundle: {name}")
                raise
        assert world.leftovers() == []
        await world.check_serving(client, "a")


def _options(**options: Any) -> dict[str, Any]:
    return options


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_absurd_values_are_refused_before_anything_is_made(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    limits, refused = req.Limits, errors.InvalidArgument
    cases = [
        _options(user="-1"), _options(user=str(2**32)), _options(user="0:4294967296"), _options(user="no-such-user"),
        _options(user="root:no-such-group"), _options(limits=limits(memory_bytes=0)),
        _options(limits=limits(memory_bytes=-2)), _options(limits=limits(cpus=0.0)),
        _options(limits=limits(cpus=float("nan"))), _options(limits=limits(cpus=-2.0)),
        _options(limits=limits(cpus=float("inf"))), _options(limits=limits(pids=0)), _options(limits=limits(pids=-5)),
        _options(args=()), _options(args=("a\0b",)), _options(env=("NOEQUALS",)), _options(env=("=x",)),
        _options(workdir="relative"), _options(hostname="a b"), _options(stop_signal="SIGNOPE"),
        _options(cap_add=("CAP_NOPE",)), _options(network="mars"), _options(source=req.Source(kind="nope")),
        _options(ulimits=(req.Ulimit(name="nope", soft=1, hard=1),)),
        _options(mounts=(req.Mount(target="relative", source="/tmp"),)),
        _options(source=req.Source(kind="rootfs", path="relative")), _options(runtime="relative/crun"),
    ]  # fmt: skip
    async with world.client() as client:
        for options in cases:
            request = req.CreateRequest(id=world.id("a"), **{"args": ("true",), **options})
            try:
                await _check_refused(client, client.service.run, request, refused)
            except BaseException as error:
                error.add_note(f"options: {options}")
                raise
        assert world.leftovers() == []
        await world.check_serving(client, "a")


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "1" + "0" * 30), ("--memory", "0"), ("--memory", "-1"), ("--cpus", "nan"), ("--cpus", "0"),
        ("--pids", "0"), ("--user", str(2**32)), ("--user=-1",),
    ],
)  # fmt: skip
def test_absurd_limit_on_the_command_line_is_one_line_and_125(world: World, words: tuple[str, ...]) -> None:
    world.start()
    done = world.cli("run", "--rm", *words, "host", "--", "true")
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.count("\n") <= 3, done.stderr


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_command_that_cannot_run_has_its_own_class(world: World, runtime: str) -> None:
    world.runtime = runtime
    data = world.base / "data"
    data.mkdir()
    for name, content, mode in (("plain", "x", 0o644), ("garbage", "\x01\x02garbage", 0o755)):
        (data / name).write_text(content)
        (data / name).chmod(mode)
    mounts = (req.Mount(target="/mnt", source=str(data)),)
    missing, refused = errors.CommandNotFound, errors.CommandNotExecutable
    cases = {"no-such": missing, "/no/such": missing, "/mnt/plain": refused, "/mnt": refused}
    world.start()
    async with world.client() as client:
        for command, kind in cases.items():
            request = world.request("a", command, mounts=mounts)
            await _check_refused(client, client.service.run, request, kind, world.id("a"))
        assert world.leftovers() == []
        # A bad format shows only when the process, already started, executes it: the runtime's words are its output.
        garbage = await client.run("host", "/mnt/garbage", mounts=mounts, id=world.id("g"))
        assert (await garbage.wait()).status == 1
        assert b"exec format error" in (await garbage.output()).lower()
        await client.service.run(world.request("a", mounts=mounts))
        for command, kind in cases.items():
            with pytest.raises(errors.WherryError) as caught:
                await client.service.exec(req.ExecRequest(id=world.id("a"), process="e", args=(command,)))
            assert type(caught.value) is kind, (command, caught.value)
        info = await client.service.get(world.ref("a"))
        assert [process.id for process in info.processes] == ["init"]
        assert info.state == "running"


def test_command_that_cannot_run_exits_with_127_or_126(world: World) -> None:
    world.start()
    assert world.cli("run", "--rm", "host", "--", "no-such-command").returncode == 127
    done = world.cli("run", "--rm", "host", "--", "/etc/passwd")
    assert done.returncode == 126
    assert done.stderr.count("\n") == 1


@scenario
async def test_message_above_the_limit_is_refused_and_harms_nobody(world: World) -> None:
    world.start()
    async with world.client() as client:
        request = world.request("a", "true", "x" * (64 << 20))
        with pytest.raises(errors.WherryError) as caught:
            await client.service.run(request)
        assert isinstance(caught.value, errors.ResourceExhausted | errors.InvalidArgument), caught.value
        await world.check_serving(client, "a")


def test_user_who_may_not_open_the_socket_is_told_so(world: World) -> None:
    world.start()
    world.base.chmod(0o711)
    code = "import sys; from wherry.cli.main import main; sys.exit(main(['ps']))"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *_python(), "-c", code],
        capture_output=True, text=True, env=world.environment, cwd="/", timeout=30 * SLOW,
    )  # fmt: skip
    _skip_unreadable(done)
    assert done.returncode == 125
    (line,) = done.stderr.splitlines()
    assert "Permission denied" in line
    assert "root" in line


def _python() -> list[str]:
    import sys

    return [sys.executable]


def _skip_unreadable(done: subprocess.CompletedProcess[str]) -> None:
    if "No module named" in done.stderr or "failed to execute" in done.stderr:
        pytest.skip(f"nobody cannot read this Python or this checkout: {done.stderr.strip()}")


def test_daemon_without_root_says_so(world: World) -> None:
    world.base.chmod(0o711)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *world.argv()],
        capture_output=True, text=True, env=world.environment, cwd="/", timeout=30 * SLOW,
    )  # fmt: skip
    _skip_unreadable(done)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "wherryd: must be run by root, not by uid 65534" in line
    assert not world.state.exists()


CONFIGS = {
    "unknown key": ("stat-dir = '/x'\n", "unknown key 'stat-dir'"),
    "wrong type": ("concurrency = 'ten'\n", "concurrency"),
    "out of range": ("start-timeout = 0\n", "start-timeout"),
    "no TOML": ("a = [\n", "config.toml"),
    "binary": ("\x00\x01", "config.toml"),
}


@pytest.mark.parametrize("case", [*CONFIGS, "missing", "long socket path", "relative listen", "file at the socket"])
def test_daemon_refuses_a_bad_configuration_in_one_line(world: World, case: str) -> None:
    path = world.base / "config.toml"
    flags = ["--config", str(path)]
    word = "config.toml"
    if case in CONFIGS:
        path.write_text(CONFIGS[case][0])
        word = CONFIGS[case][1]
    elif case == "long socket path":
        flags, word = ["--listen", f"unix:///{'x' * 110}"], "at most 107 bytes"
    elif case == "relative listen":
        flags, word = ["--listen", "tcp:1234"], "tcp:1234"
    elif case == "file at the socket":
        world.state.mkdir()
        (world.state / "wherry.sock").write_text("precious")
        flags, word = [], "something that is no socket is there"
    done = subprocess.run(world.argv(*flags), capture_output=True, text=True, env=world.environment, timeout=30 * SLOW)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert word in line
    assert "Traceback" not in done.stderr
    if case == "file at the socket":
        assert (world.state / "wherry.sock").read_text() == "precious"
        (world.state / "wherry.sock").unlink()
