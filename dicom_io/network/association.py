"""pynetdicom's association with one thread at most and without polling.

    Association            pynetdicom's, run by a thread of its own (acceptor) or by its callers (requestor)
    ├── UpperLayer         PS3.8: PDUs and the state machine, `upper_layer.py`
    │   └── Connection     the socket, `transport.py`
    ├── Messages           PS3.7: command sets and data sets, `messages.py`
    └── MessageClock       how long the peer may take, `message_clock.py`

An association that we requested has no thread. It reads only while one of its methods runs, so keeping it open costs
nothing. `attend` reads what the peer has sent in the meantime.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from ssl import SSLContext
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association as PynetdicomAssociation
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation

from dicom_io.network.admission import DEFAULT_MAX_PDU
from dicom_io.network.data_set_file import Intake
from dicom_io.network.message_clock import MessageClock
from dicom_io.network.messages import Messages, request_fault, service_name
from dicom_io.network.negotiation import Titles
from dicom_io.network.transport import Connection, StopSignal
from dicom_io.network.upper_layer import UpperLayer

# the notifications that pynetdicom would describe in its own log, patient data included
LOGGED_EVENTS = (evt.EVT_DIMSE_RECV, evt.EVT_DIMSE_SENT, evt.EVT_PDU_RECV, evt.EVT_PDU_SENT)
UNREADABLE_REQUEST = (1, 2, 1)  # PS3.8 Table 9-21: permanent, by the service provider (ACSE), no reason given


class Association(PynetdicomAssociation):  # type: ignore[misc]
    """One association.

    `mode` is "acceptor" or "requestor", `max_pdu` the maximum PDU length in bytes that we announce. `intake` says where
    objects are written, and `clock` how long the peer may take. `titles` are the AE titles of the request that came,
    and `violated` says which rule of the protocol the peer broke, or is "". An acceptor with `tls` begins with a TLS
    handshake; `tls_failure` is the error that it failed with.
    """

    def __init__(
        self,
        ae: ApplicationEntity,
        mode: str,
        max_pdu: int = DEFAULT_MAX_PDU,
        intake: Intake | None = None,
        clock: MessageClock | None = None,
        stop: StopSignal | None = None,
    ):
        super().__init__(ae, mode)
        self.clock = clock or MessageClock()
        self.dul = UpperLayer(self, max_pdu)
        self.dimse = Messages(self, intake)
        self.acse_timeout = ae.acse_timeout  # again, because it sets the ARTIM timer of the new upper layer
        self.violated = ""
        self.titles = Titles()
        self.aborted_by_peer = False
        self.turn: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        """Held while a request is read and negotiated."""
        self.offered: Mapping[bytes, Collection[bytes]] = {}
        """The transfer syntaxes that an acceptor accepts of each abstract syntax, as `reduced_request` takes them."""
        self.gave_way = False
        self.tls: SSLContext | None = None
        self.tls_failure: OSError | None = None
        self._stop_signal = stop
        self._abort_was_sent = False
        # pynetdicom's send_* methods wait until the thread of the association has paused; here no other thread runs it
        self._is_paused = True
        for event in LOGGED_EVENTS:
            for handler, _ in list(self.get_handlers(event)):
                self.unbind(event, handler)

    @property
    def stopping(self) -> bool:
        """Whether we are shutting down."""
        return self._stop_signal is not None and self._stop_signal.is_set

    def note_violation(self, rule: str) -> None:
        """Remember which rule of the protocol the peer broke, the first of them; "" is none."""
        self.violated = self.violated or rule

    # --- acceptor: the work of the thread, from the accepted connection to the closed one

    def run_reactor(self) -> None:
        """Serve one peer until it releases, aborts or breaks a limit, or until we stop. Then free everything."""
        try:
            self._accept()
        finally:
            self.dimse.discard()
            self.dul.socket.close()
            self.dul.free_buffer()
            evt.trigger(self, evt.EVT_CONN_CLOSE, {"address": self.requestor.address_info.as_tuple})

    def _accept(self) -> None:
        """Let the peer in: TLS handshake, association request, negotiation. Then serve it to the end."""
        if self.tls is not None:
            try:
                self.dul.socket.handshake(self.tls, self.acse_timeout)
            except OSError as error:
                self.tls_failure = error
                return
        self.dul.start()
        request = self.dul.receive_pdu(wait=True, timeout=self.acse_timeout)
        if isinstance(request, A_ASSOCIATE):
            self._negotiate(request)
            if self.is_established:
                self.serve_peer()
        self.kill()

    def _negotiate(self, request: A_ASSOCIATE) -> None:
        self.requestor.primitive = request
        if self.violated:
            self.acse.send_reject(*UNREADABLE_REQUEST)
        else:
            evt.trigger(self, evt.EVT_REQUESTED, {})
        if not self.is_rejected:
            with self.turn:
                self.acse.negotiate_association()

    def admit(self) -> bool:
        """Decide by `titles` whether the association may be opened, before its request is read to the end."""
        return True

    def serve_peer(self) -> None:
        """Serve requests one after the other. Abort when the peer exceeds a time limit or when we stop."""
        while self.dul.is_alive() and not self._end_if_asked():
            context_id, primitive = self.dimse.get_msg()
            exceeded = self.clock.exceeded()
            if primitive is not None:
                self._serve_request(primitive, context_id)
                self.clock.restart_idle_time()
            elif exceeded:
                self.note_violation(exceeded)
                self.abort()
            elif self.stopping and not self.clock.in_message:
                self.abort()
            else:
                self.dul.pump(self.clock.seconds_left())

    def _end_if_asked(self) -> bool:
        """Where the peer has aborted or asks for release, end the association (with the answer to a release).

        Return whether it has ended.
        """
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

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if isinstance(msg, C_STORE):
            self._serve_store(msg, context_id)
        elif msg.MessageIDBeingRespondedTo is not None and self.is_requestor:
            return  # a response that comes too late
        elif fault := request_fault(msg, self._accepted_cx[context_id].abstract_syntax):
            self.note_violation(fault)
            self.abort()
        else:
            super()._serve_request(msg, context_id)
            self._is_paused = True  # pynetdicom has just cleared it
            if self._abort_was_sent:
                self.note_violation(f"{service_name(msg)} that its SOP class does not have")

    def _serve_store(self, msg: Any, context_id: int) -> None:
        if msg.is_valid_request and (msg.failure or msg.data_set_file):
            # whatever SOP class the command set names: our handler answers 0122 where it is not that of the context
            StorageServiceClass(self).SCP(msg, self._accepted_cx[context_id])
        else:
            if msg.data_set_file:
                msg.data_set_file.remove()
            self.note_violation("C-STORE-RQ without class, instance or data set")
            self.abort()

    # --- either side

    def kill(self) -> None:
        """End the association: let the peer read our last PDU, then close the connection."""
        self.is_established = False
        self.dul.finish()

    def _abort_blocking(self, block: bool = True) -> None:
        if not self._abort_was_sent and not self.is_released and self.dul.is_alive():
            self._abort_was_sent = True
            self.acse.send_abort(0x00)
            evt.trigger(self, evt.EVT_ABORTED, {})
        self.is_aborted = True
        self.kill()

    # --- requestor

    def attend(self, seconds: float = 0.0) -> bool:
        """Wait up to `seconds` for the peer and serve what it sent. Return whether the association is still open."""
        if self.is_established:
            self.dul.pump(seconds)
            context_id, primitive = self.dimse.get_msg()
            if primitive is not None:
                self._serve_request(primitive, context_id)
            if self._end_if_asked() or not self.dul.is_alive():
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
    """Request an association with the peer at `address`, a host name or IP address and a port.

    `tls` is a context and the name that the peer's certificate must carry. `roles` are role selection items (PS3.7
    D.3.3.4), `handlers` arguments for `bind`. `response_seconds` limits each write.

    The association may not have been established, and is then closed: see `is_established`, `is_rejected` and
    `dul.socket.failure`. Raises OSError where the host name cannot be resolved.
    """
    assoc = Association(ae, "requestor", max_pdu)
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
    if not assoc.is_established:
        assoc.kill()  # pynetdicom leaves the connection open where it aborts for itself
    return assoc
