"""Who may associate with us: AE titles, addresses, and how many at once (PS3.8 9.3.4 for the reasons of a refusal)."""

import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_MAX_PDU = 131072  # the longest that dcmtk sends


@dataclass(frozen=True)
class Peer:
    """One that may send to us: AE title, and address, network ("10.1.2.0/24") or host name; "" is any."""

    ae_title: str
    host: str


@dataclass(frozen=True)
class Limits:
    """How much of us one peer, and all together, may take."""

    max_associations: int = 50
    max_associations_per_peer: int = 25
    max_pdu: int = DEFAULT_MAX_PDU
    max_object_bytes: int = 500_000_000
    association_seconds: float = 30.0
    """From the connection to the association request, TLS handshake included each, and for each answer of ours."""
    dimse_seconds: float = 30.0
    idle_seconds: float = 120.0
    message_seconds: float = 600.0
    """From the first byte of a message to its last: what ends a peer that drips."""


@dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and diagnostic of PS3.8 9.3.4, and the kind of event that it is for us."""

    result: int
    source: int
    diagnostic: int
    kind: str


CALLED_AE_TITLE = Rejection(1, 1, 7, "called-ae-title-not-recognised")
CALLING_AE_TITLE = Rejection(1, 1, 3, "peer-not-listed")
TOO_MANY = Rejection(2, 3, 2, "too-many-associations")
TOO_MANY_OF_PEER = Rejection(2, 3, 2, "too-many-associations-of-peer")
CONGESTED = Rejection(2, 3, 1, "not-accepting")


class Admission:
    """Lets associations in and counts those that are open. Used by all associations' threads."""

    def __init__(self, ae_title: str, peers: Sequence[Peer], limits: Limits, accept_any_peer: bool = False):
        self._ae_title, self._limits, self._accept_any_peer = ae_title, limits, accept_any_peer
        self.peers = tuple(peers)
        """The list, which may be replaced; who is inside stays inside."""
        self._lock = threading.Lock()
        self._open: Counter[tuple[str, str]] = Counter()

    def enter(self, calling_ae_title: str, called_ae_title: str, address: str) -> Rejection | None:
        """None where the association may be; it then counts until `leave`."""
        if called_ae_title != self._ae_title:
            return CALLED_AE_TITLE
        if not self._accept_any_peer and not self._listed(calling_ae_title, address):
            return CALLING_AE_TITLE
        peer = (calling_ae_title, address)
        with self._lock:
            if self._open.total() >= self._limits.max_associations:
                return TOO_MANY
            if self._open[peer] >= self._limits.max_associations_per_peer:
                return TOO_MANY_OF_PEER
            self._open[peer] += 1
        return None

    def leave(self, calling_ae_title: str, address: str) -> None:
        """The association that `enter` let in is over."""
        with self._lock:
            self._open[(calling_ae_title, address)] -= 1
            self._open += Counter()  # keeps only what is above zero: peers' names do not pile up

    @property
    def open_associations(self) -> int:
        return self._open.total()

    def _listed(self, calling_ae_title: str, address: str) -> bool:
        hosts = [peer.host for peer in self.peers if peer.ae_title == calling_ae_title]
        return any(host_matches(host, address) for host in hosts)


def host_matches(host: str, address: str) -> bool:
    """True where `address` is `host`, lies in that network, or is one that the host name has now."""
    if not host:
        return True
    found = _plain(address)
    if is_network(host):
        return found in ipaddress.ip_network(host, strict=False)
    try:
        return any(_plain(str(entry[4][0])) == found for entry in socket.getaddrinfo(host, None))
    except OSError:
        return False


def is_network(host: str) -> bool:
    """Whether that is an address or a network, not a name."""
    try:
        ipaddress.ip_network(host, strict=False)
    except ValueError:
        return False
    return True


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 address that came through an IPv6 socket is that IPv4 address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
