"""What wherryd refuses to listen on TCP with, before it has done anything."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import certificates
from tests.support.certificates import Authority
from wherry import errors
from wherry.api.remote import Remote
from wherry.client.tls import Tls
from wherry.daemon import config, tcp

pytestmark = pytest.mark.requires("openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority with a certificate for a daemon."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Tls:
    """Return the files of a daemon."""
    return authority.issue("server", "DNS:localhost")


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "default.toml")


def load(files: Tls, **changed: Any) -> Remote | None:
    """Return what `tcp.load` makes of these settings; `changed` replaces some, None takes one away."""
    values: dict[str, Any] = {"listen": "tcp://127.0.0.1:0", "tls_clients": "ci=all"}
    values |= {"tls_cert": files.cert, "tls_key": files.key, "tls_ca": files.ca} | changed
    words = [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]
    return tcp.load(config.load(words))


def test_what_is_complete_is_taken(server: Tls) -> None:
    found = load(server, tls_clients=" ci = all, build.example=read,c=migrate,")
    assert found == Remote(
        hosts=(("127.0.0.1", 0),),
        certificate=Path(server.cert).read_bytes(),
        key=Path(server.key).read_bytes(),
        ca=Path(server.ca).read_bytes(),
        clients={"ci": "all", "build.example": "read", "c": "migrate"},
    )


def test_without_tcp_there_is_nothing_and_nothing_is_read() -> None:
    assert tcp.load(config.load([])) is None
    assert tcp.load(config.load(["--listen", "/a"])) is None
    with pytest.raises(errors.InvalidArgument, match="^tls-cert, tls-clients: only with a tcp:// address in listen"):
        tcp.load(config.load(["--tls-cert", "/missing", "--tls-clients", "a=all"]))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["tls_cert"], "needs tls-cert as well"),
        (["tls_key", "tls_ca"], "needs tls-key, tls-ca as well"),
        (["tls_clients"], "needs tls-clients: nobody could use it"),
    ],
)
def test_what_is_missing_is_named(server: Tls, names: list[str], words: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"^listen: a tcp:// address {words}"):
        load(server, **dict.fromkeys(names))


@pytest.mark.parametrize("clients", [",", "ci", "ci=", "=all", "ci=root", "ci=ALL", "a=all,b", "a=all;b=all"])
def test_clients_without_name_or_role_are_refused(server: Tls, clients: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="tls-clients"):
        load(server, tls_clients=clients)


def test_a_name_has_one_role(server: Tls) -> None:
    with pytest.raises(errors.InvalidArgument, match="tls-clients: 'a' is there twice"):
        load(server, tls_clients="a=read,b=all,a=all")


@pytest.mark.parametrize("name", ["tls-cert", "tls-key", "tls-ca"])
def test_a_file_that_is_not_what_it_should_be_is_named(server: Tls, tmp_path: Path, name: str) -> None:
    key = name.replace("-", "_")
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.NotFound, match=f"^{name}: cannot read {path}: "):
            load(server, **{key: path})
    for content in (b"", b"\xff\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        path = tmp_path / "bad.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(errors.InvalidArgument, match=f"^{name}: no .*{path}"):
            load(server, **{key: path})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_that_others_may_touch_is_refused(server: Tls, tmp_path: Path, mode: int) -> None:
    key = tmp_path / "key"
    key.write_bytes(Path(server.key).read_bytes())
    key.chmod(mode)
    with pytest.raises(errors.InvalidArgument, match=f"^tls-key: {key} has mode {mode:04o}: it must be for its owner"):
        load(server, tls_key=key)


def test_another_key_and_one_with_a_passphrase_are_refused(authority: Authority, server: Tls, tmp_path: Path) -> None:
    other = authority.issue("other")
    with pytest.raises(errors.InvalidArgument, match=f"^tls-key: {other.key} is not the key of {server.cert}"):
        load(server, tls_key=other.key)
    locked = tmp_path / "locked"
    certificates.run("pkcs8", "-topk8", "-in", Path(server.key), "-passout", "pass:x", "-out", locked)
    with pytest.raises(errors.InvalidArgument, match=f"^tls-key: {locked} is encrypted"):
        load(server, tls_key=locked)


def test_comments_in_a_list_of_authorities_are_no_harm(server: Tls, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes("# Főtanúsítvány\n".encode() + Path(server.ca).read_bytes() * 2)
    assert load(server, tls_ca=bundle)


def test_the_commands_in_the_documentation_make_what_wherryd_takes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    [script] = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "openssl" in block]
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    [settings] = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "tls-cert =" in block]
    (tmp_path / "wherryd.toml").write_text(settings.replace("/etc/wherry/tls", str(tmp_path)))
    found = tcp.load(config.load(["--config", str(tmp_path / "wherryd.toml")]))
    assert found is not None
    assert (found.hosts, found.clients) == ((("192.0.2.10", 7443),), {"ci": "all", "prometheus": "read"})
