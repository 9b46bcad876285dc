"""DICOM over TLS by the BCP 195 profile (PS3.15 B.12: RFC 8996, 9325): TLS 1.2 and 1.3, certificates on both sides.

The files are in PEM form. `check_files` finds their faults before anybody connects. A context does not read its files
again: to use changed files, make a new context. `Renewed` does that for revocation lists.
"""

import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dicom_io.network.certificate import crl_validity, validity
from dicom_io.network.errors import TlsFault

# RFC 9325 4.2: only suites with forward secrecy and authenticated encryption; TLS 1.3 has no other suites
TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True)
class TlsFiles:
    """Our certificate (with its chain), its private key, and the certificates of the authorities that we trust.

    `crl` holds a revocation list of each authority that issues certificates of peers; None: no certificate is revoked.
    """

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """A context for our server: a peer must show a certificate of one of our authorities. Raises TlsFault."""
    return _context(ssl.PROTOCOL_TLS_SERVER, files)


def client_context(files: TlsFiles, check_name: bool = True) -> ssl.SSLContext:
    """A context for connections that we open. Raises TlsFault.

    With `check_name` the peer's certificate must carry the name or address that we connect to.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = check_name
    return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # RFC 9325 3.3, 3.5
    context.check_hostname = False  # a client has no name to check; `client_context` decides for servers
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        # with an empty password an encrypted key is an error; otherwise OpenSSL would ask for one on the terminal
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise TlsFault(_unusable(files, error)) from error
    try:
        context.load_verify_locations(files.ca)
    except OSError as error:
        raise TlsFault(f"CA file {files.ca}: {_reason(error)}; expected certificates in PEM form") from error
    if files.crl is not None:
        _demand_crl(context, files.crl)
    return context


def _demand_crl(context: ssl.SSLContext, crl: Path) -> None:
    """Have the context refuse a peer whose certificate is revoked, or whose authority has no list that is valid now."""
    try:
        crl_validity(crl)
        context.load_verify_locations(crl)
    except OSError as error:
        raise TlsFault(f"CRL file {crl}: {_reason(error)}; expected revocation lists in PEM form") from error
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


class Renewed:
    """A context that is made anew when the file with the revocation lists has changed. Used by all threads.

    A session that was begun under the old lists is not resumed under the new ones, because it belongs to the old
    context. While the new file cannot be used (it may be half written) the old lists stay in use, and `on_fault` is
    told once. Raises TlsFault where the files cannot be used at first.
    """

    def __init__(
        self,
        make: Callable[[TlsFiles], ssl.SSLContext],
        files: TlsFiles,
        on_fault: Callable[[str], None] = lambda fault: None,
    ):
        self._make, self._files, self._on_fault = make, files, on_fault
        self._lock = threading.Lock()
        self._seen = self._version()
        self._context = make(files)
        self._faulty = False

    def __call__(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        with self._lock:
            version = self._version()
            if version != self._seen or self._faulty:
                self._renew(new=version != self._seen)
                self._seen = version
            return self._context

    def _renew(self, new: bool) -> None:
        try:
            self._context = self._make(self._files)
            self._faulty = False
        except TlsFault as fault:
            self._faulty = True
            if new:
                self._on_fault(f"{fault}; the old revocation lists stay in use")

    def _version(self) -> tuple[int, ...]:
        """What changes when somebody writes the file or puts another in its place; () where there is none."""
        try:
            found = self._files.crl.stat() if self._files.crl else None
        except OSError:
            return ()
        return (found.st_ino, found.st_size, found.st_mtime_ns) if found else ()


def _unusable(files: TlsFiles, error: Exception) -> str:
    for file in (files.certificate, files.key):
        try:
            file.read_bytes()
        except OSError as trouble:
            return f"{file}: {_reason(trouble)}"
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"certificate {files.certificate} and key {files.key} do not belong together"
    return (
        f"certificate {files.certificate} or key {files.key}: {_reason(error)}; expected PEM files, the key unencrypted"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__)


def check_files(files: TlsFiles, now: datetime) -> list[str]:
    """Return a sentence for each fault of the files at the time `now`.

    Found are files that cannot be read, a key that does not belong to the certificate, certificates and revocation
    lists that have expired or are not valid yet, and a key that other users may read.
    """
    faults = []
    try:
        server_context(files)
    except TlsFault as fault:
        faults.append(str(fault))
    faults += _times(files, now)
    if files.key.exists() and files.key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        faults.append(f"key {files.key} is open to other users; run chmod 600 on it")
    return faults


def _times(files: TlsFiles, now: datetime) -> Iterator[str]:
    """A sentence for each file that is not valid at the time `now`. What cannot be read is left to `server_context`."""
    periods: list[tuple[str, Path, Callable[[], tuple[datetime, datetime]]]] = [
        ("certificate", files.certificate, lambda: validity(files.certificate)),
        ("CA", files.ca, lambda: validity(files.ca, authorities=True)),
    ]
    if (crl := files.crl) is not None:
        periods.append(("CRL", crl, lambda: crl_validity(crl)))
    for name, file, period in periods:
        try:
            begins, ends = period()
        except (OSError, TlsFault):
            continue
        if now >= ends:
            harm = ", and every peer is refused" if name == "CRL" else ""
            yield f"{name} {file} expired on {ends:%Y-%m-%d}{harm}; put a new one in its place"
        elif now < begins:
            yield f"{name} {file} is not valid before {begins:%Y-%m-%d}; check it, and this machine's clock"
