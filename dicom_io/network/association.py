"""pynetdicom's association, one thread at most and no polling; and what we tell pynetdicom once.

    Association            pynetdicom's, run by its own thread (acceptor) or by whoever calls it (requestor)
    ├── UpperLayer         PS3.8: PDUs and the state machine, `upper_layer.py`
    │   └── Connection     the socket, `transport.py`
    └── Messages           PS3.7: command sets and data sets, `messages.py`

A requestor's association has no thread at all: it reads when it is asked for something, so one that is kept open
costs nothing, and what the peer said meanwhile is read before the next request (`attend`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from pynetdicom import _config, evt
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association as PynetdicomAssociation
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation

from dicom_io.network.messages import Messages
from dicom_io.network.transport import Connection, StopSignal
from dicom_io.network.upper_layer import UpperLayer

# PS3.7 D.3.3.2: under 2.25, made once for this implementation
IMPLEMENTATION_CLASS_UID = "2.25.305820968663475908636457793125983372891"
IMPLEMENTATION_VERSION_NAME = "HILUM_0_1"
DEFAULT_MAX_PDU = 131072  # the longest that dcmtk sends
FOREVER = 3600.0


def application_entity(
    ae_title: str, association_seconds: float, dimse_seconds: float, idle_seconds: float | None
) -> ApplicationEntity:
    """Our application entity, and pynetdicom's switches: data sets to files, no log of what passes."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    ae = ApplicationEntity(ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.connection_timeout = association_seconds
    ae.dimse_timeout = dimse_seconds
    ae.network_timeout = idle_seconds
    ae.maximum_associations = 1_000_000  # ours to count, in receive.py
    return ae


class Association(PynetdicomAssociation):  # type: ignore[misc]
    """One association. `violated` says which rule of the protocol the peer broke, if any."""

    _sent_abort: bool

    def __init__(
        self,
        ae: ApplicationEntity,
        mode: str,
        max_pdu: int = DEFAULT_MAX_PDU,
        max_object_bytes: int = 2**31,
        admit: Callable[[Any], None] = lambda command_set: None,
        stop: StopSignal | None = None,
        digest: bool = False,
    ):
        super().__init__(ae, mode)
        self.dul = UpperLayer(self, max_pdu)
        self.dimse = Messages(self, max_object_bytes, admit, digest)
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout  # sets the timers of that layer
        self.message_seconds = FOREVER
        self.violated = ""
        self.tls_failure: OSError | None = None
        self._stop_signal = stop
        self._is_paused = True  # nobody else runs it, so nobody needs to be paused

    @property
    def stopping(self) -> bool:
        return self._stop_signal is not None and self._stop_signal.is_set

    # --- acceptor: the thread's work from the accepted connection to the closed one

    def run_reactor(self) -> None:
        """Serve one peer until it releases, aborts, breaks a limit, or we stop; then leave nothing behind."""
        try:
            self._accept()
        finally:
            self.dimse.discard()
            self.dul.socket.close()
            self.dul.forget()
            evt.trigger(self, evt.EVT_CONN_CLOSE, {"address": self.requestor.address_info.as_tuple})

    def _accept(self) -> None:
        context = self._server.ssl_context
        if context is not None:
            try:
                self.dul.socket.handshake(context, self.acse_timeout)
            except OSError as error:
                self.tls_failure = error
                return
        self._started_dul = True
        self.dul.start()
        request = self.dul.receive_pdu(wait=True, timeout=self.acse_timeout)
        if isinstance(request, A_ASSOCIATE):
            self.requestor.primitive = request
            evt.trigger(self, evt.EVT_REQUESTED, {})
            if not self.is_rejected:
                self.acse.negotiate_association()
            if self.is_established:
                self._run_reactor()
        self.kill()

    def _run_reactor(self) -> None:
        """Serve requests one after the other; between them wait for the peer, for the idle time, or for a stop."""
        while self.dul.is_alive() and not self._over():
            context_id, primitive = self.dimse.get_msg()
            if primitive is not None:
                self._serve_request(primitive, context_id)
                self.dul._idle_timer.restart()
            elif self._late() or (self.stopping and self.dimse.since is None):
                self.abort()
            else:
                self.dul.pump(self._patience())

    def _over(self) -> bool:
        """True once the peer released or aborted the association, which is then answered."""
        if self.acse.is_aborted():
            self.dul.receive_pdu()
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            return True
        if self.dimse.msg_queue.empty() and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        return False

    def _late(self) -> bool:
        if self.dul.idle_timer_expired():
            self.violated = f"silent for {self.network_timeout:g} s"
        elif self._patience() <= 0:
            self.violated = f"a message took more than {self.message_seconds:g} s"
        return bool(self.violated)

    def _patience(self) -> float:
        """Seconds until the peer is late: with anything, or with the end of the message that it began."""
        idle = FOREVER if self.network_timeout is None else self.dul._idle_timer.remaining
        return min(idle, self.dimse.seconds_left(self.message_seconds))

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if not isinstance(msg, C_STORE):
            super()._serve_request(msg, context_id)
            self._is_paused = True  # as before: pynetdicom's send_* wait for it
        elif msg.is_valid_request:
            # whatever class it names: the handler answers 0122 where that is not the context's
            StorageServiceClass(self).SCP(msg, self._accepted_cx[context_id])
        else:
            self.violated = "C-STORE-RQ without class, instance or data set"
            self.abort()

    # --- either side

    def kill(self) -> None:
        """End the association: the peer reads our last word, the connection is closed."""
        self._kill, self.is_established = True, False
        self.dul.finish()

    def _abort_blocking(self, block: bool = True) -> None:
        if not self._sent_abort and not self.is_released and self.dul.is_alive():
            self._sent_abort = True
            self.acse.send_abort(0x00)
            evt.trigger(self, evt.EVT_ABORTED, {})
        self.is_aborted = True
        self.kill()

    # --- requestor

    def attend(self, seconds: float = 0.0) -> bool:
        """Read what the peer sent, waiting up to `seconds`, and serve it. False where the association is over."""
        if self.is_established:
            self.dul.pump(seconds)
            context_id, primitive = self.dimse.get_msg()
            if primitive is not None:
                self._serve_request(primitive, context_id)
            if self._over() or not self.dul.is_alive():
                self.kill()
        return bool(self.is_established)


def request_association(
    ae: ApplicationEntity,
    ae_title: str,
    address: tuple[str, int],
    contexts: Sequence[PresentationContext],
    max_pdu: int = DEFAULT_MAX_PDU,
    tls: tuple[Any, str] | None = None,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
    response_seconds: float = 30.0,
) -> Association:
    """Ask a peer for an association, which need not be granted: see `is_established`, `is_rejected` and the failure.

    Raises OSError where the host name cannot be resolved.
    """
    assoc = Association(ae, MODE_REQUESTOR, max_pdu)
    remote = AddressInformation.from_addr_port(address[0], address[1])
    local = AddressInformation("" if remote.is_ipv4 else "::0", 0)
    connection = Connection(assoc, address=local)
    connection.tls_args, connection.send_seconds = tls, response_seconds
    assoc.set_socket(connection)
    assoc.acceptor.ae_title, assoc.acceptor.address_info = ae_title, remote
    assoc.requestor.ae_title, assoc.requestor.address_info = ae.ae_title, local
    assoc.requestor.maximum_length = max_pdu
    assoc.requestor.implementation_class_uid = ae.implementation_class_uid
    assoc.requestor.implementation_version_name = ae.implementation_version_name
    for role in roles:
        assoc.requestor.add_negotiation_item(role)
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1  # PS3.8 9.3.2.2: odd
    assoc.requestor.requested_contexts = list(contexts)
    for handler in handlers:
        assoc.bind(*handler)
    assoc.request()
    return assoc
