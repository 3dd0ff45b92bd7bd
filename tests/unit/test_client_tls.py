"""Where a client takes its certificates from, and what it says when they are not accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

import wherry
from wherry import errors
from wherry.client import remote, tls

ENVIRONMENT = {"WHERRY_TLS_CERT": "/e.pem", "WHERRY_TLS_KEY": "/e.key", "WHERRY_TLS_CA": "/e.ca"}
TLS = wherry.Tls(cert="/c.pem", key="/c.key", ca="/ca.pem")


def test_options_win_over_the_environment_one_by_one() -> None:
    assert tls.choose("tcp://h:1", {}, ENVIRONMENT) == tls.Tls("/e.pem", "/e.key", "/e.ca")
    chosen = tls.choose("tcp://h:1", {"ca": "/o.ca"}, ENVIRONMENT | {"WHERRY_TLS_SERVER_NAME": "n"})
    assert chosen == tls.Tls("/e.pem", "/e.key", "/o.ca", "n")


def test_a_unix_socket_has_no_tls() -> None:
    assert tls.choose("unix:///a", {}, ENVIRONMENT) is None
    with pytest.raises(errors.InvalidArgument, match="--tls-key, --tls-ca: only for an address tcp://HOST:PORT"):
        tls.choose("unix:///a", {"key": "k", "ca": "c"}, {})


def test_what_is_missing_is_named_with_its_variable() -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        tls.choose("tcp://h:1", {"key": "k"}, {"WHERRY_TLS_CA": ""})
    assert raised.value.message == (
        "tcp://h:1 needs TLS: --tls-cert ($WHERRY_TLS_CERT), --tls-ca ($WHERRY_TLS_CA) missing"
    )


def test_files_that_cannot_be_read_or_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(errors.NotFound, match="cannot read /missing: No such file"):
        tls.read(wherry.Tls("/missing", "/missing", "/missing"))
    with pytest.raises(errors.InvalidArgument, match=f"cannot use {tmp_path}/text: there is no certificate"):
        tls.read(wherry.Tls(tmp_path / "text", "/missing", "/missing"))


async def test_the_library_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    for address, given, words in (
        ("tcp://h:1", None, "tcp://h:1 needs TLS"),
        ("tcp://h", TLS, "tcp://HOST:PORT is expected"),
        ("unix:///a", TLS, "tls is for an address tcp://HOST:PORT"),
        ("http://a", None, "or tcp://HOST:PORT, is expected"),
    ):
        with pytest.raises(errors.InvalidArgument, match=words):
            async with wherry.connect(address, tls=given):
                pass


LAST = "failed to connect to all addresses; last error: "
VERIFY = "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"


@pytest.mark.parametrize(
    ("details", "kind", "words"),
    [
        (f"{LAST}UNKNOWN: ipv4:1.2.3.4:1: Failed to connect to remote host: Connection refused",
         errors.Unavailable, "no daemon answers at tcp://h:1: Connection refused"),
        (f"{LAST}UNAVAILABLE: ipv4:1.2.3.4:1: Socket closed",
         errors.Unavailable, "/c.pem must be of its tls-ca and in date; `openssl verify -CAfile /ca.pem /c.pem`"),
        (f"{LAST}UNKNOWN: x: Custom verification check failed with error: U: Hostname Verification Check failed.",
         errors.PermissionDenied, "its certificate is not for h; "),
        (f"{LAST}UNKNOWN: x: {VERIFY}CERTIFICATE_VERIFY_FAILED: unable to get {{local}} issuer certificate: OK",
         errors.PermissionDenied, "not one of /ca.pem: unable to get {local} issuer certificate"),
        (f"{LAST}UNKNOWN: x: {VERIFY}CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
         errors.PermissionDenied, "has expired"),
        (f"{LAST}UNKNOWN: x: Failed to create security handshaker.", errors.PermissionDenied, "/c.key"),
        ("something new", errors.Unavailable, "no daemon answers at tcp://h:1: something new"),
    ],
)  # fmt: skip
def test_the_words_of_grpc_are_explained(details: str, kind: type[errors.WherryError], words: str) -> None:
    error = remote.explain("tcp://h:1", TLS, details)
    assert type(error) is kind
    assert words in error.message
