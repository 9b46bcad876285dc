"""DIMSE messages (PS3.7) in and out: data sets straight to their file, responses and objects out in one write.

The command set is pynetdicom's business. The fragments of a C-STORE's data set are written to the file that
pynetdicom made for it, from the receive buffer, and to nothing else; what a peer may make us hold is bounded.
"""

import contextlib
import os
import queue
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from struct import pack
from typing import Any

from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE, DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from dicom_io.network.errors import ObjectTooLarge, ProtocolError

COMMAND, LAST = 0x01, 0x02  # bits of the message control header, PS3.8 E.2
LONGEST_COMMAND_SET = 64 * 1024
LONGEST_IDENTIFIER = 16 * 1024 * 1024  # a data set that is kept in memory: the references of a storage commitment
P_DATA_TF_TYPE = 0x04
LONGEST_SENT_PDU = 1024 * 1024


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE service provider of one association.

    `admit` is asked with each C-STORE's command set before a byte of its data set is written; what it raises becomes
    the answer, and the data set is passed over. `digest`: take the SHA-256 of each object's file as it is written.
    """

    message: Any

    def __init__(self, assoc: Any, max_object_bytes: int, admit: Callable[[Any], None], digest: bool):
        super().__init__(assoc)
        self._max_object_bytes, self._admit = max_object_bytes, admit
        self._digest = digest
        self._sha256: Any = None
        self._size = 0
        self._refusal: Exception | None = None
        self.since: float | None = None
        """Monotonic time at which the message that is coming in, or its first PDU, began; None between messages."""

    def seconds_left(self, allowed: float) -> float:
        """How much of `allowed` seconds the message that is coming in has left; all of it between messages."""
        return allowed if self.since is None else allowed - (time.monotonic() - self.since)

    # --- in

    def waits_for_more(self, of_a_pdu: bool) -> None:
        """The PDUs that came are handled; `of_a_pdu`: another one began. Its time runs from here, not from its end."""
        if of_a_pdu:
            self.since = self.since or time.monotonic()
        elif self.message is None:
            self.since = None

    def take(self, context_id: int, control: int, fragment: memoryview) -> None:
        """One fragment. Raises ProtocolError for one that does not fit the message so far."""
        if self.message is None:
            self.message, self._size = DIMSEMessage(), 0
            self.since = self.since or time.monotonic()
            self._refusal = self._sha256 = None
        if self.message.context_id is None:
            done = self._take_command(context_id, control, fragment)
        else:
            done = self._take_data(context_id, control, fragment)
        if done:
            self._complete()

    def _take_command(self, context_id: int, control: int, fragment: memoryview) -> bool:
        """True where the command set is all of the message."""
        message = self.message
        self._size += len(fragment)
        if not control & COMMAND or self._size > LONGEST_COMMAND_SET or context_id not in self.assoc._accepted_cx:
            raise ProtocolError("data set before its command set, a command set too long, or an unknown context")
        data = P_DATA()
        data.presentation_data_value_list = [[context_id, bytes([control]) + bytes(fragment)]]
        try:
            done = bool(message.decode_msg(data, self.assoc))
            self._size = 0 if message.context_id is not None else self._size
        except OSError as error:  # no file for the data set: the disk, or the number of open files
            self._refusal, done, self._size = error, False, 0
        if self._refusal is None and message._data_set_file is not None:
            self._open(message)
        return done

    def _open(self, message: Any) -> None:
        try:
            self._admit(message.command_set)
            message._data_set_file.flush()  # what follows is written past the file object's buffer
            # of the file as it stands, preamble and file meta included; taken here, no byte is read a second time
            self._sha256 = sha256(Path(message._data_set_file.name).read_bytes()) if self._digest else None
        except Exception as error:
            # the callback's, or the disk's: kept until the data set is over, then answered like any other
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._refusal = error
        if self.message._data_set_file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self.message._data_set_file.fileno(), 0)
            with contextlib.suppress(OSError):
                # on a full disk closing fails once, on what the file object holds back: here, and not in
                # pynetdicom, which would answer that as a fault of the object
                self.message._data_set_file.close()

    def _take_data(self, context_id: int, control: int, fragment: memoryview) -> bool:
        """True with the last fragment."""
        if control & COMMAND or context_id != self.message.context_id:
            raise ProtocolError("fragment of another message before the last of this one")
        self._size += len(fragment)
        file = self.message._data_set_file
        limit = LONGEST_IDENTIFIER if file is None else self._max_object_bytes
        if self._size > 2 * limit:
            raise ProtocolError(f"a data set of more than {2 * limit} bytes")
        if self._size > limit and self._refusal is None:
            self._refuse(ObjectTooLarge(f"object larger than {limit} bytes"))
        if self._refusal is None:
            try:
                self._write(file, fragment)
            except OSError as error:
                self._refuse(error)
        return bool(control & LAST)

    def _write(self, file: Any, fragment: memoryview) -> None:
        if file is None:
            self.message.data_set.write(fragment)
            return
        if self._sha256 is not None:
            self._sha256.update(fragment)
        while fragment:
            fragment = fragment[os.write(file.fileno(), fragment) :]

    def _complete(self) -> None:
        message, self.message, self.since = self.message, None, None
        primitive = message.message_to_primitive()
        primitive.refusal = self._refusal
        primitive.sha256 = self._sha256.hexdigest() if self._sha256 is not None else ""
        if not isinstance(primitive, C_CANCEL):  # none of our services can be cancelled
            self.msg_queue.put((message.context_id, primitive))

    def discard(self) -> None:
        """Remove the files of what came in and was not served: the peer was not told that we have it."""
        if self.message is not None and self.message._data_set_file is not None:
            _remove(self.message._data_set_file)
        self.message = None
        with contextlib.suppress(queue.Empty):
            while True:
                _, primitive = self.msg_queue.get_nowait()
                if isinstance(primitive, C_STORE) and primitive._dataset_file is not None:
                    _remove(primitive._dataset_file)

    # --- out

    def get_msg(self, block: bool = False) -> Any:
        """The next message; with `block`, wait for a response up to the DIMSE timeout and serve requests meanwhile.

        (None, None) where none is there, or came.
        """
        deadline = time.monotonic() + (self.dimse_timeout or 30.0)
        while True:
            with contextlib.suppress(queue.Empty):
                context_id, primitive = self.msg_queue.get_nowait()
                if not block or primitive is None or primitive.MessageIDBeingRespondedTo is not None:
                    return context_id, primitive
                self.assoc._serve_request(primitive, context_id)  # a report may overtake the response, PS3.4 J.3.3
                continue
            remaining = deadline - time.monotonic()
            if not block or remaining <= 0 or not self.dul.is_alive() or self.assoc.acse.is_aborted():
                return None, None
            self.dul.pump(remaining)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message, all PDUs of a small one in a single write."""
        request = primitive.MessageIDBeingRespondedTo is None
        message = (_RQ_TO_MESSAGE if request else _RSP_TO_MESSAGE)[type(primitive)]()
        message.primitive_to_message(primitive)
        command = encode(message.command_set, True, True)  # PS3.7 6.3.1: Implicit VR Little Endian
        data = message.data_set.getbuffer() if message.data_set is not None else memoryview(b"")
        self.send_encoded(context_id, command, data)

    def send_encoded(self, context_id: int, command: bytes, data: memoryview) -> None:
        """Send a command set and a data set as they are. Nothing is sent where the association is over."""
        if self.dul.state_machine.current_state != "Sta6":
            return
        longest = self.maximum_pdu_size or LONGEST_SENT_PDU  # 0: the peer takes any length, PS3.8 D.1
        pieces = [*_pdus(context_id, COMMAND, memoryview(command), longest), *_pdus(context_id, 0, data, longest)]
        for batch in _batches(pieces):
            if self.dul.socket.failure is None:
                self.dul.socket.send(batch)
        self.dul._step()


def _pdus(context_id: int, control: int, data: memoryview, longest: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs with one presentation data value each (PS3.8 9.3.5)."""
    size = min(longest, LONGEST_SENT_PDU) - 6
    for start in range(0, len(data), size):
        fragment = data[start : start + size]
        last = LAST if start + size >= len(data) else 0
        header = pack(">BxLLBB", P_DATA_TF_TYPE, len(fragment) + 6, len(fragment) + 2, context_id, control | last)
        yield header + fragment


def _batches(pieces: list[bytes]) -> Iterator[bytes]:
    """The same bytes in as few writes as memory allows."""
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


def _remove(file: Any) -> None:
    file.close()
    Path(file.name).unlink(missing_ok=True)
