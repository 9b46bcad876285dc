"""The listening socket, and the associations that peers open through it. Each has a thread, which ends with it."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from socketserver import TCPServer
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationServer

from dicom_io.network.admission import Admission, Limits, Rejection
from dicom_io.network.association import Association
from dicom_io.network.data_set_file import Intake
from dicom_io.network.message_clock import MessageClock
from dicom_io.network.transport import Connection, StopSignal

# connections beyond those of the allowed associations, for health checks and for requests that are being rejected;
# one address may have half of them
SPARE_CONNECTIONS = 50


class Accepted(Association):
    """An association that a peer requested."""

    def __init__(self, server: "ScpServer", connection: socket.socket, address: tuple[Any, ...]):
        limits = server.limits
        clock = MessageClock(limits.message_seconds, limits.idle_seconds)
        super().__init__(server.ae, "acceptor", limits.max_pdu, server.intake, clock, server.stop)
        self._scp = server
        self._counted_as: tuple[str, str] | None = None
        self.tls = server.ssl_context
        self.name = f"association-{address[0]}"
        self.set_socket(Connection(self, client_socket=connection, stop=server.stop))
        self.acceptor.maximum_length = limits.max_pdu
        self.acceptor.ae_title = server.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(server.server_address)
        self.acceptor.implementation_class_uid = server.ae.implementation_class_uid
        self.acceptor.implementation_version_name = server.ae.implementation_version_name
        self.acceptor.supported_contexts = server.contexts
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.remote_address = self.requestor.address_info.address
        for handler in server.handlers:
            self.bind(*handler)

    def enter(self, calling_ae_title: str, called_ae_title: str) -> Rejection | None:
        """Return why this association must be rejected, or None. In that case it is counted until it is over."""
        rejection = self._scp.admission.enter(calling_ae_title, called_ae_title, self.remote_address)
        self._counted_as = None if rejection else (calling_ae_title, self.remote_address)
        return rejection

    def report(self, kind: str, **detail: str) -> None:
        """Tell the daemon of a security event of this association."""
        calling = self.requestor.primitive.calling_ae_title if self.requestor.primitive else ""
        self._scp.on_event(kind, {"peer_address": self.remote_address, "calling_ae_title": calling, **detail})

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
            if self.tls_failure is not None:
                self.report("tls-refused", error=getattr(self.tls_failure, "reason", None) or "no handshake")
            if self.violated:
                self.report("protocol-violation", error=self.violated)
        finally:
            if self._counted_as:
                self._scp.admission.leave(*self._counted_as)
            self._scp.left(self)


class ScpServer(AssociationServer):  # type: ignore[misc]
    """Accepts connections and starts their associations.

    `handlers` are arguments for `bind`, one tuple for each event. `on_event` gets the kind of a security event and a
    detail without patient data.
    """

    request_queue_size = 128

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
        self.stop = StopSignal()
        self.last_turn = time.monotonic()
        self._lock = threading.Lock()
        self._associations: set[Accepted] = set()
        super().__init__(ae, address, ae.ae_title, list(contexts))

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, without TLS: the association's thread does that, so that a silent peer delays nobody."""
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Whether one more connection may stay, by the number of them in all and from this address."""
        held = [association.remote_address for association in list(self._associations)]
        of_one = self.limits.max_associations_per_peer + SPARE_CONNECTIONS // 2
        if len(held) < self.limits.max_associations + SPARE_CONNECTIONS and held.count(client_address[0]) < of_one:
            return True
        self.on_event("too-many-connections", {"peer_address": client_address[0], "calling_ae_title": ""})
        return False

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        association = Accepted(self, request, client_address)
        with self._lock:
            self._associations.add(association)
        try:
            association.start()
        except RuntimeError:  # no thread could be started
            self.left(association)
            raise

    def left(self, association: Accepted) -> None:
        """Forget an association that is over."""
        with self._lock:
            self._associations.discard(association)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a connection that could not be served. The server keeps running."""
        self.on_event("connection-failed", {"peer_address": client_address[0], "calling_ae_title": ""})

    def service_actions(self) -> None:
        """Note that the loop goes round. pynetdicom would collect garbage here; we leave that to the interpreter."""
        self.last_turn = time.monotonic()

    def shutdown(self, grace_seconds: float = 30.0) -> None:
        """Stop listening, give all associations `grace_seconds` to finish their messages, and break what is left."""
        if self.stop.is_set:
            return
        TCPServer.shutdown(self)
        self.server_close()
        self.stop.set()
        deadline = time.monotonic() + grace_seconds
        while remaining := list(self._associations):
            for association in remaining:
                association.join(max(deadline - time.monotonic(), 0))
                if association.is_alive():
                    association.dul.socket.cut()
                    association.join()
        self.stop.close()
