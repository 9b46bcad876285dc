"""Who may open an association with us: AE titles, addresses, how many at the same time, and whose turn it is."""

import ipaddress
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_io.network.certificate import CertificateNames
from dicom_io.network.negotiation import Titles

DEFAULT_MAX_PDU = 131072  # in bytes; the longest that dcmtk sends


@dataclass(frozen=True)
class Peer:
    """An application entity that may send to us.

    `host` is an IP address, a network such as "10.1.2.0/24", or a host name; "" means any address. `certificate` is a
    name that the peer's certificate must have (see `CertificateNames.include`); "" means any certificate that TLS lets
    in.
    """

    ae_title: str
    host: str
    certificate: str = ""


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
CERTIFICATE = Rejection(1, 1, 3, "certificate-not-of-peer")
TOO_MANY = Rejection(2, 3, 2, "too-many-associations")
TOO_MANY_OF_PEER = Rejection(2, 3, 2, "too-many-associations-of-peer")
TOO_MANY_OF_ADDRESS = Rejection(2, 3, 2, "too-many-associations-of-address")
CONGESTED = Rejection(2, 3, 1, "not-accepting")


class Admission:
    """Decides which associations may be opened, and counts the open ones. Used by the threads of all associations.

    `accept_any_peer`: every calling AE title may associate from every address. Of `peers`, only those with a
    `certificate` are consulted then: nobody else calls itself by their AE titles.

    AE titles are compared without regard to case, because devices are often configured so; the spelling of the list
    is the one that counts afterwards.
    """

    def __init__(self, ae_title: str, peers: Sequence[Peer], limits: Limits, accept_any_peer: bool = False):
        self._ae_title, self._limits, self._accept_any_peer = ae_title, limits, accept_any_peer
        self.peers = tuple(peers)
        """May be replaced at any time; associations that are open stay open."""
        self._lock = threading.Lock()
        self._open: Counter[tuple[str, str]] = Counter()

    def enter(self, titles: Titles, address: str, certificate: CertificateNames) -> Peer | Rejection:
        """Return the peer that this is, and count its association until `leave`; or return the rejection."""
        if titles.called.upper() != self._ae_title.upper():
            return CALLED_AE_TITLE
        peer = self._identified(titles.calling, address, certificate)
        if isinstance(peer, Rejection):
            return peer
        with self._lock:
            rejection = self._full(peer, address)
            if rejection is None:
                self._open[(peer.ae_title, address)] += 1
        return rejection or peer

    def leave(self, peer: Peer, address: str) -> None:
        """Stop counting an association for which `enter` returned `peer`."""
        with self._lock:
            self._open[(peer.ae_title, address)] -= 1
            self._open += Counter()  # drops the counts of zero, so that the names of peers do not pile up

    @property
    def open_associations(self) -> int:
        """How many associations are counted now."""
        return self._open.total()

    def _identified(self, ae_title: str, address: str, certificate: CertificateNames) -> Peer | Rejection:
        """The peer that calls itself `ae_title`, by address and certificate."""
        titled = [peer for peer in self.peers if peer.ae_title.upper() == ae_title.upper()]
        if self._accept_any_peer:
            bound = [peer for peer in titled if peer.certificate]
            here = bound or ([Peer(ae_title, "")] if ae_title else [])
        else:
            here = [peer for peer in titled if host_matches(peer.host, address)]
        if not here:
            return CALLING_AE_TITLE
        fitting = [peer for peer in here if not peer.certificate or certificate.include(peer.certificate)]
        return fitting[0] if fitting else CERTIFICATE

    def _full(self, peer: Peer, address: str) -> Rejection | None:
        """Why there is no place for one more association; None where there is one."""
        limits = self._limits
        if self._open.total() >= limits.max_associations:
            return TOO_MANY
        if self._open[(peer.ae_title, address)] >= limits.max_associations_per_peer:
            return TOO_MANY_OF_PEER
        of_address = sum(count for (_, where), count in self._open.items() if where == address)
        # a peer that calls itself by many names leaves a fifth of the places to other addresses
        most = max(limits.max_associations_per_peer, limits.max_associations - limits.max_associations // 5)
        return TOO_MANY_OF_ADDRESS if of_address >= most else None


class AddressQueues:
    """Connections that were accepted and not begun, in a queue for each address; the addresses take turns.

    Used by the thread that accepts. In each queue are at most `most` connections.
    """

    def __init__(self, most: int):
        self._most = most
        self._queues: dict[str, deque[tuple[socket.socket, Any]]] = {}  # in the order of their turns

    def add(self, connection: socket.socket, address: tuple[Any, ...]) -> socket.socket | None:
        """Add a connection. Return the oldest of its address where that has to give way."""
        queue = self._queues.setdefault(address[0], deque())
        queue.append((connection, address))
        return queue.popleft()[0] if len(queue) > self._most else None

    def take(self, may: Callable[[str], bool] = lambda address: True) -> tuple[socket.socket, Any] | None:
        """Remove and return the oldest connection of an address, with the address; None where nobody waits.

        It is the first address in turn for which `may` is true.
        """
        name = next(filter(may, self._queues), None)
        if name is None:
            return None
        queue = self._queues.pop(name)
        taken = queue.popleft()
        if queue:
            self._queues[name] = queue  # at the end of the line
        return taken

    def close(self) -> None:
        """Close all connections that wait."""
        while (waiting := self.take()) is not None:
            waiting[0].close()


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
