"""What certificates and revocation lists say: whom a certificate belongs to, and how long either is valid.

The TLS library verifies them; here they are only read. Certificates and lists are in PEM form, as in RFC 7468.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

from dicom_io.network.errors import TlsFault

_VERSION, _INTEGER, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x02, 0x17, 0x18
_PEM = re.compile(r"-----BEGIN (CERTIFICATE|X509 CRL)-----(.*?)-----END \1-----", re.DOTALL)
CERTIFICATE, CRL = "CERTIFICATE", "X509 CRL"
# RFC 4514 3: the short names of attribute types, here by OpenSSL's long names
_SHORT = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O",
    "organizationalUnitName": "OU", "countryName": "C", "streetAddress": "STREET", "domainComponent": "DC",
    "userId": "UID",
}  # fmt: skip


# --- whom a certificate belongs to -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CertificateNames:
    """The names in a peer's certificate; none where it showed no certificate.

    `subject` is the whole subject as RFC 4514 writes it: "CN=modality1,O=Radiology". `names` are its common names and
    its subject alternative names; `hosts` are those of the latter that are DNS names, in lower case.
    """

    subject: str = ""
    names: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    def include(self, name: str) -> bool:
        """Whether the certificate is that of `name`: its subject, a common name, or a subject alternative name."""
        return bool(name) and (
            name == self.subject or name in self.names or name.lower() in self.hosts or _address(name) in self.names
        )


def certificate_names(shown: Mapping[str, Any] | None) -> CertificateNames:
    """Read what `ssl.SSLSocket.getpeercert` returns: an empty dictionary or None where there is no certificate."""
    if not shown:
        return CertificateNames()
    subject = shown.get("subject", ())
    others = shown.get("subjectAltName", ())
    names = {value for part in subject for kind, value in part if kind == "commonName"}
    names |= {_address(value) if kind == "IP Address" else value for kind, value in others if kind != "DNS"}
    return CertificateNames(
        _rfc4514(subject), frozenset(names), frozenset(value.lower() for kind, value in others if kind == "DNS")
    )


def _rfc4514(subject: Any) -> str:
    """RFC 4514 2.1: the relative distinguished names from the last to the first."""
    parts = ["+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in subject]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    """RFC 4514 2.4."""
    text = re.sub(r'([,+"\\<>;])', r"\\\1", value).replace("\0", "\\00")
    text = f"\\{text}" if text[:1] in (" ", "#") else text
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(value) > 1 else text


def _address(text: str) -> str:
    """An IP address in its usual form; any other text as it is."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


# --- how long it is valid --------------------------------------------------------------------------------------------


def validity(file: Path, authorities: bool = False) -> tuple[datetime, datetime]:
    """Return from when until when the certificates in a PEM file are valid, in UTC.

    Of a chain the first certificate counts, which is ours. Of several `authorities` the one that is valid longest
    counts, because an old one may be kept beside its successor. Raises OSError where the file cannot be read, and
    TlsFault where it holds no certificate.
    """
    try:
        periods = [_validity(der) for der in _blocks(file, CERTIFICATE)]
        return max(periods, key=lambda period: period[1]) if authorities else periods[0]
    except (ValueError, IndexError) as error:
        raise TlsFault(f"{file}: no certificate in PEM form") from error


def crl_validity(file: Path) -> tuple[datetime, datetime]:
    """Return from when until when the revocation lists in a PEM file are valid, in UTC.

    Of several lists of one authority the one that is valid longest counts; of several authorities, the one whose list
    ends first. Raises OSError where the file cannot be read, and TlsFault where it holds no list, or one without the
    time of the next (RFC 5280 5.1.2.5 demands it).
    """
    latest: dict[bytes, tuple[datetime, datetime]] = {}
    try:
        for der in _blocks(file, CRL):
            issuer, period = _crl(der)
            latest[issuer] = max(latest.get(issuer, period), period, key=lambda p: p[1])
        return min(latest.values(), key=lambda period: period[1])
    except (ValueError, IndexError) as error:
        raise TlsFault(f"{file}: no certificate revocation list in PEM form, with the time of the next list") from error


def _blocks(file: Path, kind: str) -> list[bytes]:
    """The DER form of each certificate, or list, of a PEM file. Raises OSError, or ValueError for a damaged one."""
    text = file.read_text(encoding="ascii", errors="replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    return [PEM_cert_to_DER_cert(begin + body + end) for found, body in _PEM.findall(text) if found == kind]


def _validity(der: bytes) -> tuple[datetime, datetime]:
    """Return the validity of a certificate in DER form.

    RFC 5280 4.1: Certificate > TBSCertificate > version (optional), serialNumber, signature, issuer, validity. Raises
    ValueError or IndexError for bytes that are not a certificate.
    """
    elements = _elements(_elements(_elements(der)[0][1])[0][1])
    (begins, not_before), (ends, not_after) = _elements(elements[4 if elements[0][0] == _VERSION else 3][1])[:2]
    return _time(begins, not_before), _time(ends, not_after)


def _crl(der: bytes) -> tuple[bytes, tuple[datetime, datetime]]:
    """Return issuer and validity of a revocation list in DER form.

    RFC 5280 5.1: CertificateList > TBSCertList > version (optional), signature, issuer, thisUpdate, nextUpdate. Raises
    ValueError or IndexError for bytes that are none.
    """
    elements = _elements(_elements(_elements(der)[0][1])[0][1])
    _, (_, issuer), this_update, next_update = elements[1 if elements[0][0] == _INTEGER else 0 :][:4]
    return issuer, (_time(*this_update), _time(*next_update))


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of the DER elements that follow each other in `data`. Raises IndexError for a broken one."""
    found, offset = [], 0
    while offset < len(data):
        tag, length = data[offset], data[offset + 1]
        offset += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[offset : offset + count], "big")
            offset += count
        if offset + length > len(data):
            raise IndexError("an element longer than what holds it")
        found.append((tag, data[offset : offset + length]))
        offset += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    """Parse a UTCTime or GeneralizedTime (RFC 5280 4.1.2.5: with seconds, in UTC; two-digit years begin with 1950)."""
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("no time")
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
