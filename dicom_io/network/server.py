"""The listening socket and the associations that came through it: one thread each, none left behind."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from socketserver import TCPServer
from typing import Any

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationServer

from dicom_io.network.admission import Admission, Limits, Rejection
from dicom_io.network.association import Association
from dicom_io.network.transport import Connection, StopSignal

# connections beyond the associations: those that are being refused, health checks; half of them for one address
SPARE_CONNECTIONS = 50


class Accepted(Association):
    """An association that a peer asked for."""

    def __init__(self, server: "ScpServer", connection: socket.socket, address: tuple[Any, ...]):
        limits = server.limits
        super().__init__(
            server.ae, MODE_ACCEPTOR, limits.max_pdu, limits.max_object_bytes, server.admit, server.stop, server.digest
        )
        self._server, self._gate = server, server.gate
        self._inside: tuple[str, str] | None = None
        self.message_seconds = limits.message_seconds
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
        """Ask the gate; what it counts is given back when the association is over."""
        rejection = self._gate.enter(calling_ae_title, called_ae_title, self.remote_address)
        self._inside = None if rejection else (calling_ae_title, self.remote_address)
        return rejection

    def report(self, kind: str, **detail: str) -> None:
        """A security event of this association."""
        calling = self.requestor.primitive.calling_ae_title if self.requestor.primitive else ""
        self._server.on_event(kind, {"peer_address": self.remote_address, "calling_ae_title": calling, **detail})

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
            if self.tls_failure is not None:
                self.report("tls-refused", error=getattr(self.tls_failure, "reason", None) or "no handshake")
            if self.violated:
                self.report("protocol-violation", error=self.violated)
        finally:
            if self._inside:
                self._gate.leave(*self._inside)
            self._server.left(self)


class ScpServer(AssociationServer):  # type: ignore[misc]
    """Accepts connections and starts their associations."""

    request_queue_size = 128

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        contexts: Sequence[PresentationContext],
        handlers: Sequence[tuple[Any, ...]],
        gate: Admission,
        limits: Limits,
        admit: Callable[[Any], None],
        on_event: Callable[[str, dict[str, str]], None],
        digest: bool,
    ):
        self.gate, self.limits, self.admit, self.on_event = gate, limits, admit, on_event
        self.handlers, self.digest = handlers, digest
        self.stop = StopSignal()
        self._lock = threading.Lock()
        self._associations: set[Accepted] = set()
        super().__init__(ae, address, ae.ae_title, list(contexts))

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept only: TLS is the association's business, so that a silent peer holds up nobody."""
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
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
        except RuntimeError:  # no thread to be had
            self.left(association)
            raise

    def left(self, association: Accepted) -> None:
        """The association is over."""
        with self._lock:
            self._associations.discard(association)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.on_event("connection-failed", {"peer_address": client_address[0], "calling_ae_title": ""})

    def service_actions(self) -> None:
        """Nothing: pynetdicom collects all garbage here; we leave that to the interpreter."""

    def shutdown(self, grace_seconds: float = 30.0) -> None:
        """Stop listening, let each association finish its message for up to `grace_seconds`, then cut it."""
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
