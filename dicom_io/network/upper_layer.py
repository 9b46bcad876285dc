"""pynetdicom's upper layer (PS3.8) without its thread: whoever waits for the peer reads what the peer sends.

pynetdicom runs two threads for an association that meet in queues and wake each millisecond. Here the thread that
owns the association calls `pump`, which waits, reads, and takes the state machine forward; primitives to send are
sent where they are made. The state machine, the PDUs and their encoding are pynetdicom's. P-DATA-TF, by which all
data comes, goes from the receive buffer to the message without a copy.
"""

import time
from struct import Struct
from typing import Any

from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ

from dicom_io.network.errors import ProtocolError
from dicom_io.network.transport import MonotonicTimer

PDU_HEADER = Struct(">BxL")  # PS3.8 9.3.1: type, reserved, length of what follows
PDV_HEADER = Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: item length, presentation context ID, message control header
P_DATA_TF = 0x04
KNOWN_PDU_TYPES = range(0x01, 0x08)
# an A-ASSOCIATE-RQ of 128 contexts with 40 transfer syntaxes each has under 200 KB
LONGEST_OTHER_PDU = 256 * 1024
READ_BYTES = 512 * 1024  # for one call: what stays in the cache until it is written
LINGER_SECONDS = 2.0


class UpperLayer(DULServiceProvider):  # type: ignore[misc]
    """The DUL service provider of one association, driven by the association's thread alone.

    `max_pdu` is the longest P-DATA-TF that we announced (PS3.8 D.1): a longer one ends the association before a byte
    of it is taken in.
    """

    def __init__(self, assoc: Any, max_pdu: int):
        super().__init__(assoc)
        self._idle_timer, self.artim_timer = MonotonicTimer(60), MonotonicTimer(30)
        self._max_pdu = max_pdu
        self._buffer = bytearray(2 * max(max_pdu, LONGEST_OTHER_PDU))
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    # --- in place of the thread

    def start(self) -> None:
        """Take the first step: the transport is there (acceptor), or will be asked for (requestor)."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        self._step()

    def is_alive(self) -> bool:
        return not self._kill_thread

    def stop_dul(self) -> bool:
        self.finish()
        return True

    def send_pdu(self, primitive: Any) -> None:
        """Send at once what pynetdicom queues for its thread."""
        super().send_pdu(primitive)
        self._step()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:
        """The next primitive for the service user, waiting up to `timeout` seconds where `wait`; None if none came."""
        deadline = time.monotonic() + (timeout or 0)
        while wait and self.to_user_queue.empty() and self.is_alive() and not self.assoc.stopping:
            remaining = deadline - time.monotonic() if timeout is not None else 60.0
            if remaining <= 0:
                break
            self.pump(remaining)
        return super().receive_pdu(wait=False)

    def pump(self, seconds: float) -> None:
        """Wait up to `seconds` for the peer and handle all that came."""
        if self.artim_timer._start_time is not None:
            seconds = min(seconds, self.artim_timer.remaining)
        try:
            received = self.socket.receive_into(self._view[self._end : self._end + READ_BYTES], seconds)
        except OSError as error:
            self.socket.failure, received = error, 0
        if received is None:
            if self.artim_timer.expired:
                self.event_queue.put("Evt18")
        elif received == 0:
            self.event_queue.put("Evt17")
        else:
            self._end += received
            self._idle_timer.restart()
            self._take_pdus()
        self._step()

    def finish(self) -> None:
        """Let the peer read our last PDU, then close. The peer should close first (PS3.8 9.2.3, Sta13)."""
        deadline = time.monotonic() + LINGER_SECONDS * (0.1 if self.assoc.stopping else 1.0)
        while self.state_machine.current_state == "Sta13" and self.is_alive() and time.monotonic() < deadline:
            self.pump(deadline - time.monotonic())
        self.socket.close()
        self._kill_thread = True

    def forget(self) -> None:
        """Give the receive buffer back at once; the rest of the association waits for the garbage collector, as
        pynetdicom's objects refer to each other in circles."""
        self._buffer, self._view = bytearray(), memoryview(b"")
        self._start = self._end = 0

    # --- what pynetdicom's loop does, once for each call

    def _step(self) -> None:
        """Take the state machine forward until it has nothing to do."""
        try:
            while not self._kill_thread:
                if self.event_queue.empty() and not self._process_recv_primitive():
                    return
                self.state_machine.do_action(self.event_queue.get_nowait())
        except Exception:
            # the border to pynetdicom: what a hostile PDU does to its decoders and its state machine ends here
            self._abort_hard()

    def _abort_hard(self) -> None:
        """A-ABORT past the state machine, whose state is not known any more (PS3.8 9.3.8, source: service provider)."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0x02, 0x00
        self.socket.send(pdu.encode())
        self.socket.close()
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self._kill_thread = True

    # --- PDUs

    def _take_pdus(self) -> None:
        """Handle each complete PDU in the buffer, keep the rest."""
        while self._end - self._start >= PDU_HEADER.size and not self._kill_thread:
            if self.state_machine.current_state == "Sta13":
                self._start = self._end  # PS3.8 9.2.3: the association is over, what still comes is not for us
                break
            pdu_type, length = PDU_HEADER.unpack_from(self._buffer, self._start)
            longest = self._max_pdu if pdu_type == P_DATA_TF else LONGEST_OTHER_PDU
            if pdu_type not in KNOWN_PDU_TYPES or length > longest:
                self.assoc.violated = f"PDU of type {pdu_type} with {length} bytes, at most {longest} allowed"
                self._refuse_pdu()
                break
            stop = self._start + PDU_HEADER.size + length
            if stop > self._end:
                break
            self._take_pdu(pdu_type, stop)
            self._start = stop
        self._keep_rest()

    def _keep_rest(self) -> None:
        rest = self._end - self._start
        self.assoc.dimse.waits_for_more(of_a_pdu=rest > 0)
        # moved only when the buffer's second half is reached: the first half holds the longest PDU
        if rest == 0:
            self._start = self._end = 0
        elif self._end > len(self._buffer) // 2 and self._start:
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest

    def _take_pdu(self, pdu_type: int, stop: int) -> None:
        try:
            if pdu_type == P_DATA_TF and self.state_machine.current_state == "Sta6":
                self._take_data(self._start + PDU_HEADER.size, stop)
            else:
                pdu, event = self._decode_pdu(self._view[self._start : stop])
                self._recv_pdu.put(pdu)
                self.event_queue.put(event)
                self._step()
        except Exception as error:
            # again the border to pynetdicom's decoders: any trouble with a PDU is one answer, Evt19 (PS3.8 9.2)
            self.assoc.violated = str(error) if isinstance(error, ProtocolError) else type(error).__name__
            self._refuse_pdu()

    def _take_data(self, offset: int, stop: int) -> None:
        """DT-2 of PS3.8 9.2.2: hand each presentation data value to the message it belongs to."""
        while offset < stop:
            if stop - offset < PDV_HEADER.size:
                raise ProtocolError("presentation data value item cut short")
            length, context_id, control = PDV_HEADER.unpack_from(self._buffer, offset)
            end = offset + 4 + length
            if length < 2 or end > stop:
                raise ProtocolError("presentation data value item longer than its PDU")
            self.assoc.dimse.take(context_id, control, self._view[offset + PDV_HEADER.size : end])
            offset = end

    def _refuse_pdu(self) -> None:
        self._start = self._end = 0
        self.event_queue.put("Evt19")
        self._step()
