"""A wherryd on TCP, with an authority that issues certificates for it and its clients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

import wherry
from tests.support.certificates import Authority
from tests.support.daemon import Daemon, run_cli
from tests.support.eventually import eventually

#: Names in certificates, and what they may do.
CLIENTS = "boss=all,reader=read,mover=migrate,reader.example=read,server=migrate"


class Tcp:
    """A daemon at `host` and the certificates of its clients, by name."""

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: tuple[str, ...] = (),
        authority: Authority | None = None,
    ) -> None:
        self.authority = authority or Authority(directory)
        self._host = host
        server = self.authority.issue("server", f"IP:{host}", "DNS:localhost")
        files = ("--tls-cert", str(server.cert), "--tls-key", str(server.key), "--tls-ca", str(server.ca))
        listen = ("--listen", f"tcp://{host}:{port}", "--tls-clients", CLIENTS)
        self.daemon = Daemon(*listen, *files, prefix=prefix)
        self.clients = {name: self.authority.issue(name) for name in ("boss", "reader", "mover", "stranger")}

    @property
    def port(self) -> int:
        """The port that the daemon has in this life."""
        pattern = rf"serving at .*tcp://{re.escape(self._host)}:(\d+)"
        return int(eventually(lambda: re.findall(pattern, self.daemon.log_text))[-1])

    @property
    def address(self) -> str:
        """Where the daemon is."""
        return f"tcp://{self._host}:{self.port}"

    def connect(self, name: str) -> wherry.Sync:
        """Return a client with the certificate of that name."""
        return wherry.Sync(self.address, tls=self.clients[name])

    @contextmanager
    def channel(self, name: str = "", *, plain: bool = False) -> Iterator[grpc.Channel]:
        """Yield a bare gRPC channel, without a certificate of its own when there is no name."""
        target, options = f"{self._host}:{self.port}", [("grpc.use_local_subchannel_pool", 1)]
        if plain:
            with grpc.insecure_channel(target, options=options) as channel:
                yield channel
            return
        tls = self.clients.get(name)
        own = (Path(tls.key).read_bytes(), Path(tls.cert).read_bytes()) if tls else (None, None)
        credentials = grpc.ssl_channel_credentials(self.authority.certificate.read_bytes(), *own)
        with grpc.secure_channel(target, credentials, options=options) as channel:
            yield channel

    def environment(self, name: str) -> dict[str, str]:
        """Return what tells the command line of the daemon and the certificate of that name."""
        tls = self.clients[name]
        files = {"CERT": tls.cert, "KEY": tls.key, "CA": tls.ca}
        return {"WHERRY_ADDRESS": self.address} | {f"WHERRY_TLS_{key}": os.fspath(path) for key, path in files.items()}

    def cli(self, name: str, *words: str) -> Any:
        """Run `wherry` with the certificate of that name."""
        return run_cli(*words, env=self.environment(name))

    def check_unharmed(self) -> None:
        """Fail unless the unix socket answers, no container is there, and the log has neither traces nor noise."""
        with wherry.Sync(self.daemon.address) as client:
            assert client.containers() == ()
        assert not re.search(r"Traceback|\.cc:\d|error", self.daemon.log_text), self.daemon.log_text
