"""DICOM over TLS by the BCP 195 profile (PS3.15 B.12: RFC 8996, 9325): TLS 1.2 and 1.3, both sides show certificates.

The files are PEM. `check_files` says what is wrong with them before anybody connects; a context once made does not
look at them again, so a reload is a new context.
"""

import re
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_io.network.errors import TlsFault

# RFC 9325 4.2: forward secrecy and authenticated encryption; TLS 1.3 has no others
TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSION, _UTC_TIME = 0xA0, 0x17
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class TlsFiles:
    """Our certificate (with its chain), its key, and the authorities whose certificates we accept."""

    certificate: Path
    key: Path
    ca: Path


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """How we let peers in: only with a certificate of one of our authorities. Raises TlsFault."""
    return _context(ssl.PROTOCOL_TLS_SERVER, files)


def client_context(files: TlsFiles, check_name: bool = True) -> ssl.SSLContext:
    """How we go out; `check_name`: the peer's certificate must carry the name that we connect to. Raises TlsFault."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = check_name
    return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # RFC 9325 3.3, 3.5
    context.check_hostname = False  # a server's peers are clients; a client's caller decides
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        # the empty password refuses an encrypted key, where OpenSSL would ask on the terminal
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
    """A sentence for each fault: unreadable, not belonging together, expired or not valid yet, a key open to others."""
    faults = []
    try:
        server_context(files)
    except TlsFault as fault:
        faults.append(str(fault))
    for name, file in (("certificate", files.certificate), ("CA", files.ca)):
        try:
            begins, ends = validity(file, authorities=name == "CA")
        except (OSError, TlsFault):
            continue  # already said above
        if now >= ends:
            faults.append(f"{name} {file} expired on {ends:%Y-%m-%d}; put a new one in its place")
        elif now < begins:
            faults.append(f"{name} {file} is not valid before {begins:%Y-%m-%d}; check it, and this machine's clock")
    if files.key.exists() and files.key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        faults.append(f"key {files.key} is open to other users; run chmod 600 on it")
    return faults


def validity(file: Path, authorities: bool = False) -> tuple[datetime, datetime]:
    """From when to when a PEM file is good. Raises OSError, or TlsFault where it holds no certificate.

    A chain is as good as its first certificate, ours; of several `authorities` the one that lasts longest counts, for
    an old one may stay beside its successor.
    """
    found = _PEM.findall(file.read_text(encoding="ascii", errors="replace"))
    try:
        periods = [_validity(ssl.PEM_cert_to_DER_cert(text + "\n")) for text in found]
        return max(periods, key=lambda period: period[1]) if authorities else periods[0]
    except (ValueError, IndexError) as error:
        raise TlsFault(f"{file}: no certificate in PEM form") from error


def _validity(der: bytes) -> tuple[datetime, datetime]:
    """RFC 5280 4.1: Certificate > TBSCertificate > version?, serialNumber, signature, issuer, validity."""
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
    """Tag, content and end of the DER element at `offset`."""
    tag, length = data[offset], data[offset + 1]
    offset += 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[offset : offset + count], "big")
        offset += count
    return tag, data[offset : offset + length], offset + length


def _time(tag: int, content: bytes) -> datetime:
    """UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 has them: with seconds, in UTC; two-digit years from 1950 on."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
