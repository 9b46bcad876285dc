"""Certificates for the tests, made by openssl."""

import subprocess
from pathlib import Path

from dicom_io.network.tls import TlsFiles
from tests.support.peers import run


class Authority:
    """A certificate authority made by openssl, which issues certificates for 127.0.0.1."""

    def __init__(self, directory: Path):
        directory.mkdir()
        self._directory = directory
        self.ca = directory / "ca.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=Test CA",
                 "-keyout", directory / "ca.key", "-out", self.ca)  # fmt: skip

    def issue(self, name: str, days: int = 10, address: str = "127.0.0.1") -> TlsFiles:
        """A certificate and its key; `days` below zero: one that has expired."""
        key, request, certificate = (self._directory / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{address}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._directory / "ca.key",
                 "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", certificate)  # fmt: skip
        key.chmod(0o600)
        return TlsFiles(certificate, key, self.ca)


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def storescu(port: int, files: TlsFiles, ca: Path, image: Path) -> str:
    return run("storescu", "-v", "+tls", files.key, files.certificate, "+cf", ca, "-aec", "HILUM",
               "127.0.0.1", str(port), image).stdout  # fmt: skip
