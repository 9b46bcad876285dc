"""DIMSE messages (PS3.7), incoming and outgoing.

pynetdicom decodes and encodes the command sets. The data set of a C-STORE request goes from the receive buffer straight
to its file, and what a peer can make us hold in memory is bounded. An outgoing message is sent in as few writes as
possible.
"""

import contextlib
import queue
import time
from collections.abc import Iterator
from struct import pack
from typing import Any

from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE, DIMSEServiceProvider
from pynetdicom.dimse_messages import C_ECHO_RSP, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from dicom_io.network.data_set_file import DataSetFile, Intake, file_head
from dicom_io.network.errors import NotAuthorized, ObjectTooLarge, ProtocolError

COMMAND, LAST = 0x01, 0x02  # bits of the message control header, PS3.8 E.2
LONGEST_COMMAND_SET = 64 * 1024  # in bytes; that of a valid message is much shorter
# in bytes; the longest data set that is kept in memory: the references of a storage commitment request
LONGEST_IDENTIFIER = 16 * 1024 * 1024
P_DATA_TF_TYPE = 0x04
LONGEST_SENT_PDU = 1024 * 1024  # in bytes


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE service provider of one association, used by the thread that runs the association.

    `intake` says where C-STORE requests are written and what is checked first; without one their data sets are read and
    dropped. Each primitive in the queue has two more attributes: `failure`, the exception that must become the
    answer, or None; and `data_set_file`, the complete DataSetFile of a C-STORE request, or None. Whoever takes the
    primitive from the queue removes that file.
    """

    message: Any

    def __init__(self, assoc: Any, intake: Intake | None):
        super().__init__(assoc)
        self._intake = intake
        self._file: DataSetFile | None = None
        self._failure: Exception | None = None
        self._size = 0

    # --- incoming

    def take(self, context_id: int, control: int, fragment: memoryview) -> None:
        """Add one fragment to the message that is arriving, and queue the message once it is complete.

        Raises ProtocolError for a fragment that does not belong there.
        """
        if self.message is None:
            self.message, self._size, self._failure = DIMSEMessage(), 0, None
            self.assoc.clock.begin_message()
        if self.message.context_id is None:
            complete = self._take_command(context_id, control, fragment)
        else:
            complete = self._take_data(context_id, control, fragment)
        if complete:
            self._queue_message()

    def _take_command(self, context_id: int, control: int, fragment: memoryview) -> bool:
        """Add a fragment of the command set. Return whether the message is complete, having no data set."""
        message = self.message
        self._size += len(fragment)
        if not control & COMMAND or self._size > LONGEST_COMMAND_SET or context_id not in self.assoc._accepted_cx:
            raise ProtocolError("data set before its command set, a command set too long, or an unknown context")
        data = P_DATA()
        data.presentation_data_value_list = [[context_id, bytes([control]) + bytes(fragment)]]
        complete = bool(message.decode_msg(data, self.assoc))
        if message.context_id is not None:  # the command set is complete
            self._size = 0
            if isinstance(message, C_STORE_RQ) and not complete:
                self._begin_object(message)
            # PS3.7 9.3.1.2, 9.3.5.2: these have no data set, whatever their Command Data Set Type says
            complete = complete or isinstance(message, C_STORE_RSP | C_ECHO_RSP)
        return complete

    def _begin_object(self, message: Any) -> None:
        """Make the file for the data set that follows, or remember why there is none."""
        head = file_head(message.command_set, self.assoc._accepted_cx[message.context_id].transfer_syntax[0])
        try:
            if self._intake is None:
                raise NotAuthorized("no objects are taken in on this association")
            self._intake.check(message.command_set)
            self._file = DataSetFile(self._intake.directory, head, self._intake.digest)
        except Exception as error:
            # from the callback or from the disk: kept until the data set has been read, then answered like any other
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Answer this message with `error`, drop the rest of its data set, and give the disk space back now."""
        self._failure = error
        self._remove_file()

    def _remove_file(self) -> None:
        if self._file is not None:
            self._file.remove()
            self._file = None

    def _take_data(self, context_id: int, control: int, fragment: memoryview) -> bool:
        """Add a fragment of the data set. Return whether it is the last."""
        if control & COMMAND or context_id != self.message.context_id:
            raise ProtocolError("fragment of another message before the last of this one")
        self._size += len(fragment)
        limit = self._longest_data_set()
        if self._size > 2 * limit:
            raise ProtocolError(f"a data set of more than {2 * limit} bytes")
        if self._size > limit and self._failure is None:
            self._fail(ObjectTooLarge(f"object larger than {limit} bytes"))
        if self._failure is None:
            self._keep(fragment)
        return bool(control & LAST)

    def _longest_data_set(self) -> int:
        """In bytes: the limit for objects, or the one for data sets that are kept in memory."""
        if self._intake is not None and isinstance(self.message, C_STORE_RQ):
            return self._intake.max_object_bytes
        return LONGEST_IDENTIFIER

    def _keep(self, fragment: memoryview) -> None:
        try:
            if self._file is not None:
                self._file.write(fragment)
            else:
                self.message.data_set.write(fragment)
        except OSError as error:
            self._fail(error)

    def _queue_message(self) -> None:
        message, self.message = self.message, None
        self.assoc.clock.end_message()
        primitive = message.message_to_primitive()
        primitive.failure, primitive.data_set_file = self._failure, self._file
        self._file = None
        if not isinstance(primitive, C_CANCEL):  # none of our services can be cancelled
            self.msg_queue.put((message.context_id, primitive))

    def discard(self) -> None:
        """Remove the files of objects that were not handed over: the peer has not been told that we have them."""
        self.message = None
        self._remove_file()
        with contextlib.suppress(queue.Empty):
            while True:
                _, primitive = self.msg_queue.get_nowait()
                if primitive is not None and primitive.data_set_file is not None:
                    primitive.data_set_file.remove()

    # --- outgoing

    def get_msg(self, block: bool = False) -> Any:
        """Return presentation context ID and primitive of the next message, or (None, None) where there is none.

        With `block`, wait for a response until the DIMSE timeout, and serve the peer's requests in the meantime.
        """
        deadline = time.monotonic() + (self.dimse_timeout or 30.0)
        while True:
            with contextlib.suppress(queue.Empty):
                context_id, primitive = self.msg_queue.get_nowait()
                if not block or primitive is None or primitive.MessageIDBeingRespondedTo is not None:
                    return context_id, primitive
                # PS3.4 J.3.3: a commitment report may arrive before the response to the request for it
                self.assoc._serve_request(primitive, context_id)
                continue
            remaining = deadline - time.monotonic()
            if not block or remaining <= 0 or not self.dul.is_alive() or self.assoc.acse.is_aborted():
                return None, None
            self.dul.pump(remaining)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Encode and send a message. The PDUs of a small one go out in a single write."""
        request = primitive.MessageIDBeingRespondedTo is None
        message = (_RQ_TO_MESSAGE if request else _RSP_TO_MESSAGE)[type(primitive)]()
        message.primitive_to_message(primitive)
        command = encode(message.command_set, True, True)  # PS3.7 6.3.1: Implicit VR Little Endian
        data = message.data_set.getbuffer() if message.data_set is not None else memoryview(b"")
        self.send_encoded(context_id, command, data)

    def send_encoded(self, context_id: int, command: bytes, data: memoryview) -> None:
        """Send an encoded command set and data set. Does nothing where the association is over."""
        if self.dul.state_machine.current_state != "Sta6":
            return
        longest = self.maximum_pdu_size or LONGEST_SENT_PDU  # 0: the peer takes any length, PS3.8 D.1
        pieces = [*_pdus(context_id, COMMAND, memoryview(command), longest), *_pdus(context_id, 0, data, longest)]
        for batch in _batches(pieces):
            if self.dul.socket.failure is None:
                self.dul.socket.send(batch)
        self.dul.advance()


def service_name(msg: Any) -> str:
    """The service of a message as PS3.7 writes it."""
    return type(msg).__name__.replace("_", "-")


def request_fault(msg: Any, abstract_syntax: str) -> str:
    """Say why a message, other than C-STORE, cannot be answered. pynetdicom would drop it, or serve another class."""
    if msg.MessageIDBeingRespondedTo is not None:
        return f"{service_name(msg)} response that nobody waits for"
    if not msg.is_valid_request:
        return f"{service_name(msg)} without what PS3.7 demands of it"
    named = getattr(msg, "AffectedSOPClassUID", None) or getattr(msg, "RequestedSOPClassUID", None)
    # C-ECHO asks for nothing, so that it does not matter on which context it comes
    if not isinstance(msg, C_ECHO) and named != abstract_syntax:
        return f"{service_name(msg)} of another SOP class than that of its presentation context"
    return ""


def _pdus(context_id: int, control: int, data: memoryview, longest: int) -> Iterator[bytes]:
    """Cut `data` into P-DATA-TF PDUs of at most `longest` bytes, one presentation data value each (PS3.8 9.3.5)."""
    size = min(longest, LONGEST_SENT_PDU) - 6
    for start in range(0, len(data), size):
        fragment = data[start : start + size]
        last = LAST if start + size >= len(data) else 0
        header = pack(">BxLLBB", P_DATA_TF_TYPE, len(fragment) + 6, len(fragment) + 2, context_id, control | last)
        yield header + fragment


def _batches(pieces: list[bytes]) -> Iterator[bytes]:
    """Join PDUs into writes of about LONGEST_SENT_PDU bytes."""
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= LONGEST_SENT_PDU:
            yield b"".join(batch)
            batch, size = [], 0
    if batch:
        yield b"".join(batch)
