"""Messages of the Storage Commitment Push Model written by hand, so that they may be wrong, and what comes back."""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicom_io.services.storage_commitment import CommitReport, Reference, action_information, event_information
from tests.support.raw_peer import IMPLICIT, VERIFICATION, item, proposal, request, user_information
from tests.support.raw_sender import RawPeer

MODEL, INSTANCE = b"1.2.840.10008.1.20.1", b"1.2.840.10008.1.20.1.1"
N_ACTION_RQ, N_EVENT_REPORT_RQ, C_ECHO_RQ = 0x0130, 0x0100, 0x0030  # PS3.7 E.1
NO_DATA_SET = 0x0101
DATA, ECHO = 1, 3  # presentation contexts
ECHO_ID = 0x7777
ABORT, NOTHING = 7, 0  # what `RawPeer.answer` returns
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True)
class Message:
    """A DIMSE request: its command set by element number of group 0000, and its encoded data set."""

    fields: dict[int, bytes]
    data: bytes
    syntax: str

    def command(self) -> bytes:
        body = b"".join(struct.pack("<HHL", 0, n, len(v)) + v for n, v in sorted(self.fields.items()))
        return struct.pack("<HHLL", 0, 0, 4, len(body)) + body

    def values(self) -> list[bytes]:
        """Its presentation data values."""
        return [value(DATA, 3, self.command()), *([value(DATA, 2, self.data)] if self.data else [])]


def number(value: int) -> bytes:
    return struct.pack("<H", value & 0xFFFF)


def even(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def message(chance: random.Random, kind: int | None = None) -> Message:
    """A request or a report as the standard has it, on one to three objects that nobody has."""
    syntax = chance.choice(SYNTAXES)
    kind = kind or chance.choice([N_ACTION_RQ, N_ACTION_RQ, N_EVENT_REPORT_RQ])
    transaction = f"2.25.{chance.getrandbits(100)}"
    references = tuple(Reference(DX, f"2.25.{chance.getrandbits(100)}") for _ in range(chance.choice([1, 1, 3])))
    fields = {0x0100: number(kind), 0x0110: number(1), 0x0800: number(1)}
    if kind == N_ACTION_RQ:
        dataset = action_information(transaction, references)
        fields |= {0x0003: even(MODEL), 0x1001: even(INSTANCE), 0x1008: number(1)}
    else:
        failed = tuple((reference, 0x0112) for reference in references[1:])
        dataset = event_information(CommitReport(transaction, references[:1], failed))
        fields |= {0x0002: even(MODEL), 0x1000: even(INSTANCE), 0x1002: number(2 if failed else 1)}
    return Message(fields, encoded(dataset, syntax), syntax)


def encoded(dataset: Dataset, syntax: str) -> bytes:
    data = encode(dataset, syntax == ImplicitVRLittleEndian, True)
    assert data, "pynetdicom could not encode the data set"
    return data


def value(context: int, control: int, data: bytes) -> bytes:
    """A presentation data value (PS3.8 9.3.5.1)."""
    return struct.pack(">LBB", len(data) + 2, context, control) + data


# --- over an association ---------------------------------------------------------------------------------------------


def exchange(
    port: int,
    said: Message | Sequence[bytes],
    syntax: str = "",
    title: str = "COMMITTER",
    address: str = "127.0.0.1",
    roles: bytes = b"",
) -> str:
    """Send a message, or presentation data values in `syntax`, with a C-ECHO behind it, over an association.

    Returns the status of the answer in hex; "unanswered" where only C-ECHO was answered; "aborted"; or "closed".
    """
    values = said.values() if isinstance(said, Message) else list(said)
    peer = opened(port, said.syntax if isinstance(said, Message) else syntax, title, address, roles)
    try:
        peer.socket.sendall(b"".join(map(pdu, [*values, _echo()])))
        return _outcome(peer)
    finally:
        peer.close()


def opened(port: int, syntax: str, title: str, address: str, roles: bytes = b"") -> RawPeer:
    """An association with a context for commitment, one for C-ECHO, and these roles (PS3.7 D.3.3.4)."""
    peer = RawPeer(port, 20, address)
    contexts = proposal(DATA, MODEL, (syntax.encode(),)) + proposal(ECHO, VERIFICATION, (IMPLICIT,))
    role = [item(0x54, struct.pack(">H", len(MODEL)) + MODEL + roles)] if roles else []
    peer.socket.sendall(request(calling=title.encode(), contexts=contexts, user=user_information(*role)))
    kind, _ = peer.answer()
    if kind != 2:
        raise ConnectionError(f"no association, but a PDU of type {kind}")
    return peer


def pdu(value: bytes) -> bytes:
    """A P-DATA-TF PDU of one value."""
    return struct.pack(">BxL", 4, len(value)) + value


def _echo() -> bytes:
    fields = {
        0x0002: even(VERIFICATION),
        0x0100: number(C_ECHO_RQ),
        0x0110: number(ECHO_ID),
        0x0800: number(NO_DATA_SET),
    }
    return value(ECHO, 3, Message(fields, b"", "").command())


def _outcome(peer: RawPeer) -> str:
    """The status of the answer, "unanswered" where only C-ECHO was answered, "aborted", or "closed"."""
    status = "unanswered"
    while True:
        kind, content = peer.answer()
        if kind in (ABORT, NOTHING):
            # a message that was answered may have been followed by what is none
            return "aborted" if kind == ABORT else "closed"
        said = dict(_elements(content[6:]))
        if said.get(0x0120) == number(ECHO_ID) and content[4] == ECHO:
            return status
        if 0x0900 in said and len(said[0x0900]) == 2:
            status = f"{struct.unpack('<H', said[0x0900])[0]:04X}"


def _elements(command: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        yield element, command[at + 8 : at + 8 + length]
        at += 8 + length
