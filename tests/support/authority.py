"""Certificates for the tests, made by openssl."""

import subprocess
from pathlib import Path

from dicom_io.network.tls import TlsFiles
from tests.support.peers import run


class Authority:
    """A certificate authority made by openssl, which issues certificates for 127.0.0.1."""

    def __init__(self, directory: Path, name: str = "Test CA"):
        directory.mkdir()
        self._directory = directory
        self.ca = directory / "ca.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                 "-keyout", directory / "ca.key", "-out", self.ca)  # fmt: skip

    def issue(
        self, name: str, days: int = 10, address: str = "127.0.0.1", subject: str = "", names: str = ""
    ) -> TlsFiles:
        """A certificate and its key; `days` below zero: one that has expired.

        `subject` is in openssl's form, "/O=Clinic/CN=modality"; else the common name is `name`. `names` are more
        subject alternative names: "DNS:modality.example".
        """
        key, request, certificate = (self._directory / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{address}{',' * bool(names)}{names}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj", subject or f"/CN={name}",
                "-keyout", key, "-out", request)  # fmt: skip
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._directory / "ca.key",
                 "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", certificate)  # fmt: skip
        key.chmod(0o600)
        return TlsFiles(certificate, key, self.ca)

    def revoke(self, files: TlsFiles) -> None:
        """Put a certificate on the next revocation list."""
        self._ca("-revoke", files.certificate)

    def revocation_list(self, file: Path, begins: str = "", ends: str = "") -> Path:
        """Write a revocation list, by default for ten days from now; the times are YYYYMMDDHHMMSSZ."""
        period = ["-crl_lastupdate", begins, "-crl_nextupdate", ends] if ends else ["-crldays", "10"]
        part = file.with_suffix(".part")
        self._ca("-gencrl", *period, "-out", part)
        part.replace(file)
        return file

    def _ca(self, *words: str | Path) -> None:
        """openssl ca, with its database beside the authority's key."""
        configuration, database = self._directory / "ca.conf", self._directory / "index.txt"
        database.touch()
        configuration.write_text(f"[ca]\ndefault_ca=ours\n[ours]\ndatabase={database}\ndefault_md=sha256\n")
        openssl("ca", "-config", configuration, "-keyfile", self._directory / "ca.key", "-cert", self.ca, *words)


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def storescu(port: int, files: TlsFiles, ca: Path, image: Path) -> str:
    return run("storescu", "-v", "+tls", files.key, files.certificate, "+cf", ca, "-aec", "HILUM",
               "127.0.0.1", str(port), image).stdout  # fmt: skip
