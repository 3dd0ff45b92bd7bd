"""Errors across a real gRPC connection: the same class and the same words at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from wherry import errors
from wherry.api import status
from wherry.client import channel

_CLASSES = sorted(errors.named().values(), key=lambda cls: cls.__name__)


@asynccontextmanager
async def raising(directory: Path) -> AsyncIterator[Any]:
    """Serve one call that raises what it is given; yield a function that makes the call and returns what came."""
    given: list[BaseException] = []

    async def handle(_request: bytes, context: Any) -> bytes:
        await status.abort(context, given.pop())

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Errors", handlers),))
    address = f"unix://{directory}/s"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as connection:
            call: Any = connection.unary_unary("/test.Errors/Call")

            async def send(error: BaseException) -> errors.WherryError:
                given.append(error)
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await call(b"", timeout=10.0)
                return channel.to_error(raised.value)

            yield send
    finally:
        await server.stop(None)


def ask(directory: Path, *given: BaseException) -> list[errors.WherryError]:
    """Return what arrives for each error that is raised."""

    async def send_all() -> list[errors.WherryError]:
        async with raising(directory) as send:
            return [await send(error) for error in given]

    return asyncio.run(send_all())


@pytest.fixture(scope="module", autouse=True)
def grpc_has_started(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let gRPC open what it keeps for the rest of the process before anybody looks for leaks."""
    ask(tmp_path_factory.mktemp("warm"), errors.Internal(""))


def test_every_class_arrives_as_itself_with_its_words(tmp_path: Path) -> None:
    given = [cls(f"cannot try {cls.__name__}: 100 % of it\nfailed, \u00fc") for cls in _CLASSES]
    came = ask(tmp_path, *given)
    assert [(type(error), error.message) for error in came] == [(type(error), error.message) for error in given]


def test_a_megabyte_of_words_is_cut_and_never_hides_the_error(tmp_path: Path) -> None:
    texts = ["a" * 2**20, "\u00fc" * 5000, "\u8a9e" * 5000, "\x01" * 5000, "%" * 5000]
    for text, came in zip(texts, ask(tmp_path, *map(errors.RuntimeFailed, texts)), strict=True):
        assert type(came) is errors.RuntimeFailed
        assert len(came.message) > 400
        assert text.startswith(came.message)


def test_a_file_name_that_is_not_utf8_never_makes_the_call_hang(tmp_path: Path) -> None:
    (came,) = ask(tmp_path, errors.NotFound("cannot open /a/\udcff"))
    assert type(came) is errors.NotFound
    assert came.message == "cannot open /a/?"


def test_a_name_that_a_terminal_would_obey_arrives_as_text(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "\x1b[2J\nwherry: fine").open()
    (came,) = ask(tmp_path, raised.value)
    assert came.message == rf"cannot do that: {tmp_path}/\x1b[2J\nwherry: fine: No such file or directory"


def test_what_nobody_raised_on_purpose_is_internal_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (came,) = ask(tmp_path, KeyError("colour"))
    assert type(came) is errors.Internal
    assert came.message == "internal error: KeyError: 'colour'"
    assert [record.message for record in caplog.records if record.name == "wherry.api.status"] == ["internal error"]


def make_answer(code: grpc.StatusCode, details: str | None, *metadata: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details=details)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_without_a_name_becomes_the_class_of_its_code(code: grpc.StatusCode) -> None:
    came = channel.to_error(make_answer(code, "words"))
    assert came.message.endswith("words")
    assert came.code == (errors.Code.UNKNOWN if code is grpc.StatusCode.UNAUTHENTICATED else code.value[0])


def test_a_name_from_a_newer_daemon_falls_back_to_the_code() -> None:
    came = channel.to_error(make_answer(grpc.StatusCode.NOT_FOUND, "words", ("wherry-error", "ImageNotFound")))
    assert type(came) is errors.NotFound


def test_a_name_as_bytes_is_understood_and_no_words_are_replaced_by_the_code() -> None:
    came = channel.to_error(make_answer(grpc.StatusCode.INTERNAL, None, ("wherry-error", b"RuntimeFailed")))
    assert type(came) is errors.RuntimeFailed
    assert came.message == "INTERNAL"


def test_each_class_has_a_code_that_a_client_without_names_maps_back_to_it_or_to_its_base() -> None:
    for cls in _CLASSES:
        found = channel.to_error(make_answer(status._CODES[int(cls.code)], "x"))
        assert issubclass(cls, type(found))
