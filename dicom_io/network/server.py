"""The listening socket, and the associations that peers open through it. Each has a thread, which ends with it."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from socketserver import TCPServer
from ssl import SSLContext, SSLSocket
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationServer

from dicom_io.network.admission import AddressQueues, Admission, Limits, Peer, Rejection
from dicom_io.network.association import Association
from dicom_io.network.certificate import CertificateNames, certificate_names
from dicom_io.network.data_set_file import Intake
from dicom_io.network.message_clock import MessageClock
from dicom_io.network.transport import Connection, StopSignal, tls_reason

# connections beyond those of the allowed associations, for health checks and for requests that are being rejected;
# one address may have half of them
SPARE_CONNECTIONS = 50
ACCEPTED_AT_ONCE = 128  # connections, which takes some 10 ms
MOST_LEAVING = 25  # connections of one address that gave way to newer ones, and whose threads have not ended yet


class Accepted(Association):
    """An association that a peer requested."""

    def __init__(self, server: "ScpServer", connection: socket.socket, address: tuple[Any, ...]):
        limits = server.limits
        clock = MessageClock(limits.message_seconds, limits.idle_seconds)
        super().__init__(server.ae, "acceptor", limits.max_pdu, server.intake, clock, server.stop)
        self._scp = server
        self.peer: Peer | None = None
        """Who this is, once it was let in."""
        self.rejection: Rejection | None = None
        self.tls = server.tls() if server.tls else None
        self.name = f"association-{address[0]}"
        self.set_socket(Connection(self, client_socket=connection, stop=server.stop))
        self.acceptor.maximum_length = limits.max_pdu
        self.acceptor.ae_title = server.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(server.server_address)
        self.acceptor.implementation_class_uid = server.ae.implementation_class_uid
        self.acceptor.implementation_version_name = server.ae.implementation_version_name
        self.acceptor.supported_contexts = server.contexts
        self.offered = server.offered
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.remote_address = self.requestor.address_info.address
        for handler in server.handlers:
            self.bind(*handler)

    def admit(self) -> bool:
        """Ask the admission once. Where it lets us in, we are counted until we are over."""
        admitted = self._scp.admission.enter(self.titles, self.remote_address, self.certificate)
        if isinstance(admitted, Rejection):
            self.rejection = admitted
            return False
        self.peer = admitted
        return True

    @property
    def certificate(self) -> CertificateNames:
        """The names of the certificate that the peer showed."""
        connection = self.dul.socket.socket
        return certificate_names(connection.getpeercert() if isinstance(connection, SSLSocket) else None)

    def report(self, kind: str, **detail: str) -> None:
        """Tell the daemon of a security event of this association."""
        titles = {"calling_ae_title": self.titles.calling, "called_ae_title": self.titles.called}
        self._scp.on_event(kind, {"peer_address": self.remote_address, **titles, **detail})

    def give_way(self) -> None:
        """End this connection for a newer one. May be called from another thread."""
        self.gave_way = True
        self.dul.socket.cut()

    def serve_peer(self) -> None:
        if self.peer is not None:
            self.requestor.ae_title = self.peer.ae_title  # as the list spells it
        super().serve_peer()

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
            if self.gave_way:
                self.report("too-many-connections")
            elif self.tls_failure is not None:
                self.report("tls-refused", error=tls_reason(self.tls_failure))
            if self.violated:
                self.report("protocol-violation", error=self.violated)
        finally:
            if self.peer is not None:
                self._scp.admission.leave(self.peer, self.remote_address)
            self._scp.left(self)


class ScpServer(AssociationServer):  # type: ignore[misc]
    """Accepts connections and starts their associations.

    `handlers` are arguments for `bind`, one tuple for each event. `on_event` gets the kind of a security event and a
    detail without patient data. `tls` returns the TLS context for a new connection; None: TLS is off.
    """

    # how many connections the kernel holds for us, unless net.core.somaxconn is less: where its queue is full, a peer's
    # system tries again only after 1 s
    request_queue_size = 4096

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        contexts: Sequence[PresentationContext],
        handlers: Sequence[tuple[Any, ...]],
        admission: Admission,
        limits: Limits,
        intake: Intake,
        on_event: Callable[[str, dict[str, str]], None],
    ):
        self.admission, self.limits, self.intake, self.on_event = admission, limits, intake, on_event
        self.handlers = handlers
        self.tls: Callable[[], SSLContext] | None = None
        self.stop = StopSignal()
        self.last_turn = time.monotonic()
        self._lock = threading.Lock()
        self._associations: dict[Accepted, None] = {}  # in the order in which they came
        self.offered = {
            context.abstract_syntax.encode(): frozenset(syntax.encode() for syntax in context.transfer_syntax)
            for context in contexts
        }
        self._queues = AddressQueues(limits.max_associations_per_peer + SPARE_CONNECTIONS // 2)
        self._ending = False
        super().__init__(ae, address, ae.ae_title, list(contexts))
        self.socket.setblocking(False)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, without TLS: the association's thread does that, so that a silent peer delays nobody."""
        connection, address = self.socket.accept()
        return connection, address

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        """Let an accepted connection wait for its address's turn, which `service_actions` gives it at once."""
        crowded_out = self._queues.add(request, client_address)
        if crowded_out is not None:
            self._report_unknown("too-many-connections", client_address)
            crowded_out.close()

    def service_actions(self) -> None:
        """Begin the associations of the connections that wait, one of each address in turn; note that the loop goes on.

        To begin one takes a hundred times as long as to accept it. So whoever waits in the kernel's queue behind many
        connections of one address is accepted first, and then waits for one of them only. (pynetdicom would collect
        garbage here; we leave that to the interpreter.)
        """
        self._accept_waiting()
        while not self._ending and (waiting := self._queues.take(self._may_begin)):
            self._begin(*waiting)
            self.last_turn = time.monotonic()
            self._accept_waiting()
        self.last_turn = time.monotonic()

    def _accept_waiting(self) -> None:
        """Accept what waits in the kernel's queue, but not for long."""
        with contextlib.suppress(OSError):  # BlockingIOError: nobody waits any more
            for _ in range(ACCEPTED_AT_ONCE):
                self.process_request(*self.get_request())

    def _may_begin(self, address: str) -> bool:
        """Whether few enough of the connections that gave way still have their threads, which end within moments."""
        leaving = [each for each in list(self._associations) if each.gave_way and each.remote_address == address]
        return len(leaving) < MOST_LEAVING

    def _begin(self, request: socket.socket, client_address: Any) -> None:
        """Start the association of a connection, or close it where there is no room."""
        try:
            if self._has_room(client_address):
                self._start(request, client_address)
            else:
                self.shutdown_request(request)
        except Exception:
            self.handle_error(request, client_address)
            self.shutdown_request(request)

    def _has_room(self, client_address: Any) -> bool:
        """Whether one more connection may stay, by the number of them in all and from this address.

        Where there are too many, the oldest that was not let in gives way, so that connections that say nothing keep
        nobody out.
        """
        held = [association for association in list(self._associations) if not association.gave_way]
        of_address = [association for association in held if association.remote_address == client_address[0]]
        of_one = self.limits.max_associations_per_peer + SPARE_CONNECTIONS // 2
        if len(of_address) >= of_one:
            return self._make_room(of_address, client_address)
        if len(held) >= self.limits.max_associations + SPARE_CONNECTIONS:
            return self._make_room(held, client_address)
        return True

    def _make_room(self, held: list[Accepted], client_address: Any) -> bool:
        """Break the oldest of the connections `held` that was not let in. Return whether there was one."""
        oldest = next((each for each in held if each.peer is None), None)
        if oldest is None:
            self._report_unknown("too-many-connections", client_address)
            return False
        oldest.give_way()
        return True

    def _report_unknown(self, kind: str, client_address: Any) -> None:
        titles = {"calling_ae_title": "", "called_ae_title": ""}
        self.on_event(kind, {"peer_address": client_address[0], **titles})

    def _start(self, request: socket.socket, client_address: Any) -> None:
        association = Accepted(self, request, client_address)
        # the requests of one address are read and negotiated one after the other, so that large ones take no more than
        # one thread's share from the others
        held = list(self._associations)
        neighbour = next((each for each in held if each.remote_address == association.remote_address), None)
        association.turn = neighbour.turn if neighbour else threading.Lock()
        with self._lock:
            self._associations[association] = None
        try:
            association.start()
        except RuntimeError:  # no thread could be started
            self.left(association)
            raise

    def left(self, association: Accepted) -> None:
        """Forget an association that is over."""
        with self._lock:
            self._associations.pop(association, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a connection that could not be served. The server keeps running."""
        self._report_unknown("connection-failed", client_address)

    def shutdown(self, grace_seconds: float = 30.0) -> None:
        """Stop listening, give all associations `grace_seconds` to finish their messages, and break what is left."""
        if self.stop.is_set:
            return
        self._ending = True
        TCPServer.shutdown(self)
        self.server_close()
        self._queues.close()
        self.stop.set()
        deadline = time.monotonic() + grace_seconds
        while remaining := list(self._associations):
            for association in remaining:
                association.join(max(deadline - time.monotonic(), 0))
                if association.is_alive():
                    association.dul.socket.cut()
                    association.join()
        self.stop.close()
