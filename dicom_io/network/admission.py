"""Who may open an association with us: AE titles, addresses, and how many at the same time."""

import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_MAX_PDU = 131072  # in bytes; the longest that dcmtk sends


@dataclass(frozen=True)
class Peer:
    """An application entity that may send to us.

    `host` is an IP address, a network such as "10.1.2.0/24", or a host name; "" means any address.
    """

    ae_title: str
    host: str


@dataclass(frozen=True)
class Limits:
    """What one peer, and all peers together, may use. Sizes are in bytes, times in seconds."""

    max_associations: int = 50
    max_associations_per_peer: int = 25
    max_pdu: int = DEFAULT_MAX_PDU
    max_object_bytes: int = 500_000_000
    association_seconds: float = 30.0
    """For the TLS handshake, and again from there (without TLS: from the connection) to the association request."""
    dimse_seconds: float = 30.0
    """For the response to a request that we sent."""
    idle_seconds: float = 120.0
    """Without a byte from the peer."""
    message_seconds: float = 600.0
    """From the first byte of a message to its last, so that a peer that sends a byte at a time is ended too."""


@dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and reason by PS3.8 9.3.4, and `kind`, the name of our security event."""

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
    """Decides which associations may be opened, and counts the open ones. Used by the threads of all associations.

    `accept_any_peer`: every calling AE title may associate from every address, and `peers` is not consulted.
    """

    def __init__(self, ae_title: str, peers: Sequence[Peer], limits: Limits, accept_any_peer: bool = False):
        self._ae_title, self._limits, self._accept_any_peer = ae_title, limits, accept_any_peer
        self.peers = tuple(peers)
        """May be replaced at any time; associations that are open stay open."""
        self._lock = threading.Lock()
        self._open: Counter[tuple[str, str]] = Counter()

    def enter(self, calling_ae_title: str, called_ae_title: str, address: str) -> Rejection | None:
        """Return None and count the association until `leave`, or return the rejection."""
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
        """Stop counting an association for which `enter` returned None."""
        with self._lock:
            self._open[(calling_ae_title, address)] -= 1
            self._open += Counter()  # drops the counts of zero, so that the names of peers do not pile up

    @property
    def open_associations(self) -> int:
        """How many associations are counted now."""
        return self._open.total()

    def _listed(self, calling_ae_title: str, address: str) -> bool:
        hosts = [peer.host for peer in self.peers if peer.ae_title == calling_ae_title]
        return any(host_matches(host, address) for host in hosts)


def host_matches(host: str, address: str) -> bool:
    """Whether the IP address `address` is `host`, lies in the network `host`, or belongs to the host name `host` now.

    A host name that cannot be resolved matches no address.
    """
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
    """Whether `host` is an IP address or a network, as opposed to a host name."""
    try:
        ipaddress.ip_network(host, strict=False)
    except ValueError:
        return False
    return True


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address. An IPv4 address that arrived through an IPv6 socket becomes that IPv4 address again."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
