"""An authority that issues certificates, by the program openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wherry.client.tls import Tls

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def run(*argv: str | Path) -> str:
    """Return what `openssl` prints. Raises FileNotFoundError without it, CalledProcessError when it fails."""
    return subprocess.run(
        ["openssl", *map(str, argv)], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
    ).stdout


class Authority:
    """Issues certificates into a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        run(
            "req",
            "-x509",
            *_KEY,
            "-days",
            "30",
            "-subj",
            "/CN=authority",
            "-keyout",
            self._key,
            "-out",
            self.certificate,
        )

    def issue(self, name: str, *alternatives: str, days: int = 30, file: str = "") -> Tls:
        """Return a certificate for `name` and alternative names (`DNS:x`, `IP:x`); -1 days is one that has expired."""
        stem = self._directory / (file or name or "nameless")
        certificate, key, request = (stem.with_suffix(suffix) for suffix in (".pem", ".key", ".csr"))
        names = ("-addext", f"subjectAltName={','.join(alternatives)}") if alternatives else ()
        subject = f"/CN={name}" if name else "/O=somebody"
        run("req", "-new", *_KEY, "-subj", subject, *names, "-keyout", key, "-out", request)
        signer = ("-CA", self.certificate, "-CAkey", self._key, "-copy_extensions", "copy")
        run("x509", "-req", "-in", request, *signer, "-days", str(days), "-out", certificate)
        return Tls(cert=certificate, key=key, ca=self.certificate)
