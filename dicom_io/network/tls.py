"""DICOM over TLS by the BCP 195 profile (PS3.15 B.12: RFC 8996, 9325): TLS 1.2 and 1.3, certificates on both sides.

The files are in PEM form. `check_files` finds their faults before anybody connects. A context does not read its files
again: to use changed files, make a new context.
"""

import re
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_io.network.errors import TlsFault

# RFC 9325 4.2: only suites with forward secrecy and authenticated encryption; TLS 1.3 has no other suites
TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSION, _UTC_TIME = 0xA0, 0x17
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class TlsFiles:
    """Our certificate (with its chain), its private key, and the certificates of the authorities that we trust."""

    certificate: Path
    key: Path
    ca: Path


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
    return context


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

    Found are files that cannot be read, a key that does not belong to the certificate, certificates that have expired
    or are not valid yet, and a key that other users may read.
    """
    faults = []
    try:
        server_context(files)
    except TlsFault as fault:
        faults.append(str(fault))
    for name, file in (("certificate", files.certificate), ("CA", files.ca)):
        try:
            begins, ends = validity(file, authorities=name == "CA")
        except (OSError, TlsFault):
            continue  # `server_context` has named this fault
        if now >= ends:
            faults.append(f"{name} {file} expired on {ends:%Y-%m-%d}; put a new one in its place")
        elif now < begins:
            faults.append(f"{name} {file} is not valid before {begins:%Y-%m-%d}; check it, and this machine's clock")
    if files.key.exists() and files.key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        faults.append(f"key {files.key} is open to other users; run chmod 600 on it")
    return faults


def validity(file: Path, authorities: bool = False) -> tuple[datetime, datetime]:
    """Return from when until when the certificates in a PEM file are valid, in UTC.

    Of a chain the first certificate counts, which is ours. Of several `authorities` the one that is valid longest
    counts, because an old one may be kept beside its successor. Raises OSError where the file cannot be read, and
    TlsFault where it holds no certificate.
    """
    found = _PEM.findall(file.read_text(encoding="ascii", errors="replace"))
    try:
        periods = [_validity(ssl.PEM_cert_to_DER_cert(text + "\n")) for text in found]
        return max(periods, key=lambda period: period[1]) if authorities else periods[0]
    except (ValueError, IndexError) as error:
        raise TlsFault(f"{file}: no certificate in PEM form") from error


def _validity(der: bytes) -> tuple[datetime, datetime]:
    """Return the validity of a certificate in DER form.

    RFC 5280 4.1: Certificate > TBSCertificate > version (optional), serialNumber, signature, issuer, validity. Raises
    ValueError or IndexError for bytes that are not a certificate.
    """
    _, body, _ = _read(der, 0)
    _, to_be_signed, _ = _read(body, 0)
    offset = 0
    skip = 4 if to_be_signed[0] == _VERSION else 3
    for _ in range(skip):
        _, _, offset = _read(to_be_signed, offset)
    _, times, _ = _read(to_be_signed, offset)
    begins, not_before, offset = _read(times, 0)
    ends, not_after, _ = _read(times, offset)
    return _time(begins, not_before), _time(ends, not_after)


def _read(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """Return tag, content and end offset of the DER element at `offset`."""
    tag, length = data[offset], data[offset + 1]
    offset += 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[offset : offset + count], "big")
        offset += count
    return tag, data[offset : offset + length], offset + length


def _time(tag: int, content: bytes) -> datetime:
    """Parse a UTCTime or GeneralizedTime (RFC 5280 4.1.2.5: with seconds, in UTC; two-digit years begin with 1950)."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
