"""pynetdicom's upper layer (PS3.8) without the thread that pynetdicom would run for it.

In pynetdicom, two threads serve an association; they exchange queues and wake up every millisecond. Here the thread
that owns the association calls `pump`, which waits for the peer, reads what it sent and drives the state machine. What
we send is sent at once by the caller. The state machine, the PDUs and their encoding are pynetdicom's. P-DATA-TF PDUs,
which carry all messages, are taken apart here and go from the receive buffer to the message without a copy.
"""

import mmap
import time
from struct import Struct
from typing import Any

from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ

from dicom_io.network import negotiation
from dicom_io.network.errors import ProtocolError
from dicom_io.network.negotiation import A_ABORT, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from dicom_io.network.transport import MonotonicTimer

PDU_HEADER = Struct(">BxL")  # PS3.8 9.3.1: type, reserved, length of what follows
PDV_HEADER = Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: item length, presentation context ID, message control header
P_DATA_TF = 0x04
KNOWN_PDU_TYPES = range(0x01, 0x08)
# an A-ASSOCIATE-RQ of 128 contexts with 40 transfer syntaxes each has under 200 KB
LONGEST_OTHER_PDU = 256 * 1024
READ_BYTES = 512 * 1024  # in one read: few enough to be still in the processor's cache when they are written
LINGER_SECONDS = 2.0  # how long we wait for the peer to close the connection


class UpperLayer(DULServiceProvider):  # type: ignore[misc]
    """The DUL service provider of one association, used by the association's thread alone.

    `max_pdu` is the maximum length in bytes that we announced for P-DATA-TF PDUs (PS3.8 D.1). A longer PDU ends the
    association before its content is read.
    """

    def __init__(self, assoc: Any, max_pdu: int):
        super().__init__(assoc)
        self.artim_timer = MonotonicTimer(30)
        self._max_pdu = max_pdu
        # pages of its own: those that nothing was read into take no memory, and all go back at the end
        self._buffer: mmap.mmap | bytes = mmap.mmap(-1, 2 * max(max_pdu, LONGEST_OTHER_PDU), mmap.MAP_PRIVATE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # where the unread bytes lie in the buffer
        self._ended = False

    # --- in place of the thread

    def start(self) -> None:
        """Begin: the connection is there already (acceptor) or will be requested (requestor)."""
        self.assoc.clock.restart_idle_time()
        self.assoc._dul_ready.set()
        self.advance()

    def is_alive(self) -> bool:
        return not self._ended

    def kill_dul(self) -> None:
        """End the upper layer. pynetdicom's state machine calls this when the connection is closed."""
        self._ended = True

    def stop_dul(self) -> bool:
        self.finish()
        return True

    def send_pdu(self, primitive: Any) -> None:
        """Send `primitive` at once, where pynetdicom would queue it for its thread."""
        super().send_pdu(primitive)
        self.advance()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:
        """Return the next primitive for the service user, or None.

        With `wait`, wait up to `timeout` seconds, or without limit where that is None.
        """
        deadline = time.monotonic() + (timeout or 0)
        while wait and self.to_user_queue.empty() and self.is_alive() and not self.assoc.stopping:
            remaining = deadline - time.monotonic() if timeout is not None else 60.0
            if remaining <= 0:
                break
            self.pump(remaining)
        return super().receive_pdu(wait=False)

    def pump(self, seconds: float) -> None:
        """Wait up to `seconds` for the peer, and handle everything that has arrived by then."""
        if self.artim_timer.running:
            seconds = min(seconds, self.artim_timer.remaining)
        try:
            received = self.socket.receive_into(self._view[self._end : self._end + READ_BYTES], seconds)
        except OSError as error:
            self.socket.failure, received = error, 0
        if received is None:
            if self.artim_timer.expired:
                if self.state_machine.current_state == "Sta2":
                    self.assoc.note_violation(f"no association request within {self.artim_timer.timeout:g} s")
                self.event_queue.put("Evt18")
        elif received == 0:
            self.event_queue.put("Evt17")
        else:
            self._end += received
            self.assoc.clock.restart_idle_time()
            self._take_pdus()
        self.advance()

    def finish(self) -> None:
        """Close the connection, but first give the peer up to LINGER_SECONDS to read our last PDU and close it itself.

        PS3.8 9.2.3: in state Sta13 the peer should close first. While we are stopping, the wait is a tenth of that.
        """
        deadline = time.monotonic() + LINGER_SECONDS * (0.1 if self.assoc.stopping else 1.0)
        while self.state_machine.current_state == "Sta13" and self.is_alive() and time.monotonic() < deadline:
            self.pump(deadline - time.monotonic())
        self.socket.close()
        self.kill_dul()

    def free_buffer(self) -> None:
        """Free the receive buffer now. The rest waits for the garbage collector: pynetdicom's objects form circles."""
        self._buffer, self._view = b"", memoryview(b"")
        self._start = self._end = 0

    # --- the state machine

    def advance(self) -> bool:
        """Run the state machine until it has nothing left to do. Return False where it failed and we broke off."""
        try:
            while not self._ended and not (self.event_queue.empty() and not self._process_recv_primitive()):
                self.state_machine.do_action(self.event_queue.get_nowait())
        except Exception:
            # a hostile PDU can make pynetdicom's decoders and state machine raise anything; it ends this association
            # alone
            self._abort_hard()
            return False
        return True

    def _abort_hard(self) -> None:
        """Send A-ABORT past the state machine, whose state is unknown now (PS3.8 9.3.8, source: service provider)."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0x02, 0x00
        self.socket.send(pdu.encode())
        self.socket.close()
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.kill_dul()

    # --- PDUs

    def _take_pdus(self) -> None:
        """Handle each complete PDU in the buffer and keep the beginning of the next one."""
        while self._end - self._start >= PDU_HEADER.size and not self._ended:
            if self.state_machine.current_state == "Sta13":
                self._start = self._end  # PS3.8 9.2.3: the association is over, so whatever still arrives is ignored
                break
            pdu_type, length = PDU_HEADER.unpack_from(self._buffer, self._start)
            if pdu_type == A_ASSOCIATE_RQ:
                self._note_titles()
            longest = self._max_pdu if pdu_type == P_DATA_TF else LONGEST_OTHER_PDU
            if pdu_type not in KNOWN_PDU_TYPES or length > longest:
                self._reject_pdu(f"PDU of type {pdu_type} with {length} bytes, at most {longest} allowed")
                break
            stop = self._start + PDU_HEADER.size + length
            if stop > self._end:
                break
            self._take_pdu(pdu_type, stop)
            self._start = stop
        self._keep_rest()

    def _note_titles(self) -> None:
        """Keep the AE titles of the association request, whatever may be wrong with the rest of it."""
        end = self._start + negotiation.AE_TITLES_END
        if self.state_machine.current_state == "Sta2" and end <= self._end:
            self.assoc.titles = negotiation.ae_titles(bytes(self._view[self._start : end]))

    def _keep_rest(self) -> None:
        """Note whether something incomplete is left, and make room for the rest of it."""
        rest = self._end - self._start
        if rest > 0:
            self.assoc.clock.begin_message()
        elif self.assoc.dimse.message is None:
            self.assoc.clock.end_message()
        # half of the buffer holds the longest PDU, so the rest is moved to the front only once it lies in the second
        # half
        if rest == 0:
            self._start = self._end = 0
        elif self._end > len(self._buffer) // 2 and self._start:
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest

    def _take_pdu(self, pdu_type: int, stop: int) -> None:
        try:
            if pdu_type == P_DATA_TF and self.state_machine.current_state == "Sta6":
                self._take_data(self._start + PDU_HEADER.size, stop)
            elif pdu_type == A_ASSOCIATE_RQ:
                self._take_request(bytes(self._view[self._start : stop]))
            else:
                self._hand_over(pdu_type, self._reduced(pdu_type, bytes(self._view[self._start : stop])))
        except Exception as error:
            # whatever pynetdicom's decoders raise, the PDU is invalid, and PS3.8 9.2 has one event for that: Evt19
            self._reject_pdu(str(error) if isinstance(error, ProtocolError) else type(error).__name__)

    def _hand_over(self, pdu_type: int, reduced: bytes) -> None:
        """Let pynetdicom decode a PDU and its state machine handle it."""
        pdu, event = self._decode_pdu(reduced)
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)
        if not self.advance():
            self.assoc.note_violation(f"PDU of type {pdu_type} that cannot be handled")

    def _take_request(self, pdu: bytes) -> None:
        """Read an association request in its turn. What a peer that is not let in proposes is not read."""
        if self.state_machine.current_state != "Sta2":
            raise ProtocolError("a second A-ASSOCIATE-RQ")
        admitted = self.assoc.admit()  # before the turn: it may have to ask DNS
        with self.assoc.turn:
            if self.assoc.gave_way:
                self.event_queue.put("Evt17")
                return
            reduced = self._reduced_request(pdu) if admitted else negotiation.bare_request(self.assoc.titles)
            self._hand_over(A_ASSOCIATE_RQ, reduced)

    def _reduced(self, pdu_type: int, pdu: bytes) -> bytes:
        """Return the PDU with what pynetdicom has to see of it. Raises ProtocolError where it cannot be read."""
        if pdu_type == A_ASSOCIATE_AC:
            if not self.assoc.is_requestor:
                raise ProtocolError("A-ASSOCIATE-AC from a requestor")
            contexts = self.assoc.requestor.requested_contexts
            proposed = {c.context_id: {syntax.encode() for syntax in c.transfer_syntax} for c in contexts}
            roles = {uid.encode() for uid in self.assoc.requestor.role_selection}
            return negotiation.reduced_acceptance(pdu, proposed, roles)
        if pdu_type == A_ABORT:
            self.assoc.aborted_by_peer = True
        return negotiation.reduced_end(pdu) if pdu_type in (A_ASSOCIATE_RJ, A_ABORT) else pdu

    def _reduced_request(self, pdu: bytes) -> bytes:
        """As `_reduced`, for an association request.

        One that cannot be read becomes one that proposes nothing: `assoc.violated` then says why it is to be rejected
        (PS3.8 9.2.2, action AE-6).
        """
        try:
            self.assoc.note_violation(negotiation.protocol_version_fault(pdu))
            return negotiation.reduced_request(pdu, self.assoc.offered)
        except ProtocolError as error:
            self.assoc.note_violation(str(error))
            return negotiation.bare_request(self.assoc.titles)

    def _take_data(self, offset: int, stop: int) -> None:
        """Hand each presentation data value of a P-DATA-TF PDU to the message (action DT-2 of PS3.8 9.2.2).

        Raises ProtocolError where a length does not fit.
        """
        while offset < stop:
            if stop - offset < PDV_HEADER.size:
                raise ProtocolError("presentation data value item cut short")
            length, context_id, control = PDV_HEADER.unpack_from(self._buffer, offset)
            end = offset + 4 + length
            if length < 2 or end > stop:
                raise ProtocolError("presentation data value item longer than its PDU")
            self.assoc.dimse.take(context_id, control, self._view[offset + PDV_HEADER.size : end])
            offset = end

    def _reject_pdu(self, rule: str) -> None:
        """End the association because of an invalid PDU; `rule` says what is wrong with it."""
        self.assoc.note_violation(rule)
        self._start = self._end = 0
        self.event_queue.put("Evt19")
        self.advance()
