"""Mutated messages of the Storage Commitment Push Model, N-ACTION and N-EVENT-REPORT, over proper associations."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicom_io.services.storage_commitment import CommitReport, Reference, action_information, event_information
from tests.conftest import wait_for
from tests.support.harness import Daemon
from tests.support.mutations import VALUES, Seed, flipped, mutated
from tests.support.raw_peer import IMPLICIT, VERIFICATION, item, proposal, request, user_information
from tests.support.raw_sender import RawPeer
from tests.system.fuzzing.figures import Figures

KIND = "commitment messages"
TITLE, ADDRESS = "COMMITTER", "127.0.0.3"  # our own, so that the daemon counts our violations and nobody else's
MODEL, INSTANCE = b"1.2.840.10008.1.20.1", b"1.2.840.10008.1.20.1.1"
N_ACTION_RQ, N_EVENT_REPORT_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0130, 0x0100, 0x0030, 0x0FFF  # PS3.7 E.1
OTHER_COMMANDS = (0x0001, 0x0010, 0x0020, 0x0030, 0x0110, 0x0120, 0x0140, 0x0150, 0x8130, 0x8100, 0x8001, 0x0FFF, 0x4242)
NO_DATA_SET = 0x0101
DATA, ECHO = 1, 3  # presentation contexts
ECHO_ID = 0x7777
ABORT, NOTHING = 7, 0  # what `RawPeer.answer` returns
FAR = datetime(9000, 1, 1, tzinfo=UTC)
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


# --- mutations -----------------------------------------------------------------------------------------------------


def mutated_message(made: Message, chance: random.Random) -> list[bytes]:
    """The presentation data values of the message with a change to its data set, its command set, or how it is cut."""
    draw = chance.random()
    if draw < 0.6:
        made = Message(made.fields, mutated(Seed("", "", "", made.syntax, made.data), chance).data, made.syntax)
    elif draw < 0.9:
        made = Message(_other_fields(dict(made.fields), chance), made.data, made.syntax)
    command = made.command()
    if 0.9 <= draw < 0.95:
        command = flipped(command, chance)
    pieces = [*_values(command, 1, chance), *_values(made.data, 0, chance)]
    if draw >= 0.95:
        _cut_otherwise(pieces, chance)
    return pieces


def _other_fields(fields: dict[int, bytes], chance: random.Random) -> dict[int, bytes]:
    for _ in range(chance.choice([1, 1, 2])):
        at = chance.choice(sorted(fields) or [0x0110])
        match chance.randrange(6):
            case 0:
                fields.pop(at, None)
            case 1:
                fields[0x0100] = number(chance.choice(OTHER_COMMANDS))
            case 2:
                fields[0x0800] = number(chance.choice([NO_DATA_SET, 0, 0xFFFF]))
            case 3:
                fields[at] = chance.choice([*VALUES, MODEL, VERIFICATION, number(chance.getrandbits(16))])
            case 4:
                fields[chance.choice([0x0120, 0x0600, 0x0700, 0x0901, 0x0902, 0x1002, 0x1008, 0x1020])] = number(1)
            case _:
                fields[at] = chance.randbytes(chance.choice([0, 1, 2, 3, 64, 70_000]))
    return fields


def _values(data: bytes, command: int, chance: random.Random) -> list[bytes]:
    """Presentation data values (PS3.8 9.3.5.1), of a few bytes each or one for all."""
    size = chance.choice([len(data), len(data), 16, 200]) or 1
    starts = range(0, len(data), max(size, len(data) // 400))
    cuts = [data[start : start + starts.step] for start in starts]
    return [_value(DATA, command | 2 * (n == len(cuts) - 1), cut) for n, cut in enumerate(cuts)]


def _value(context: int, control: int, data: bytes) -> bytes:
    return struct.pack(">LBB", len(data) + 2, context, control) + data


def _cut_otherwise(pieces: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(pieces))
    match chance.randrange(5):
        case 0:
            del pieces[at]
        case 1:
            pieces.insert(at, pieces[at])
        case 2:
            chance.shuffle(pieces)
        case 3:
            pieces[at] = pieces[at][:4] + chance.randbytes(2) + pieces[at][6:]  # another context, other control bits
        case _:
            pieces[at] = chance.randbytes(4) + pieces[at][4:]  # another length


# --- to the daemon -------------------------------------------------------------------------------------------------


class CommitmentFuzz:
    """Sends messages to `daemon`, each over an association of its own, and counts the answers."""

    def __init__(self, daemon: Daemon, figures: Figures):
        self._daemon, self._figures = daemon, figures

    def __call__(self, chance: random.Random) -> None:
        """One message and a C-ECHO behind it: both are answered, or the association is aborted."""
        made = message(chance)
        pieces = mutated_message(made, chance)
        try:
            answer = self._exchange(made.syntax, pieces, chance)
        except OSError as error:
            answer = type(error).__name__
        self._figures.note(KIND, answer)
        cancelled = struct.pack("<HHLH", 0, 0x0100, 2, C_CANCEL_RQ) in b"".join(pieces)
        if answer not in ("aborted", "unanswered") and len(answer) != 4:
            self._figures.findings.append(f"a commitment message ended in {answer}: {pieces!r:.1000}")
        if answer == "unanswered" and not cancelled:
            self._figures.findings.append(f"a commitment message was not answered: {pieces!r:.1000}")

    def _exchange(self, syntax: str, pieces: list[bytes], chance: random.Random) -> str:
        peer = opened(self._daemon.port, syntax, chance.choice([b"", b"\0\1", b"\1\0", b"\1\1"]))
        try:
            peer.socket.sendall(b"".join(map(_pdu, [*pieces, _echo()])))
            return _outcome(peer)
        finally:
            peer.close()

    def look(self) -> None:
        """Every abort is on record, and every request that was taken has been answered by a report."""
        aborted = self._figures.answers[KIND]["aborted"]

        def on_record() -> bool:
            rows = [e for e in list(self._daemon.events) if e.get("kind") == "protocol-violation"]
            return sum(1 + int(e["held_back"]) for e in rows if e["peer_address"] == ADDRESS) >= aborted + 1

        def break_the_protocol() -> bool:
            peer = opened(self._daemon.port, SYNTAXES[0], b"")
            peer.socket.sendall(_pdu(_value(DATA, 2, b"no command before it")))
            peer.answer()
            peer.close()
            return on_record()

        wait_for(break_the_protocol, 30, "every abort to be on record")
        with self._daemon.journal() as journal:
            wait_for(lambda: not list(journal.unanswered(FAR)), 300, "the commitment reports")
        lost = sum(e.get("event") == "commitment report not delivered" for e in list(self._daemon.events))
        self._figures.findings += [f"{lost} commitment reports were not delivered"] if lost else []


def opened(port: int, syntax: str, roles: bytes) -> RawPeer:
    """An association with a context for commitment, one for C-ECHO, and these roles (PS3.7 D.3.3.4)."""
    peer = RawPeer(port, 20, ADDRESS)
    contexts = proposal(DATA, MODEL, (syntax.encode(),)) + proposal(ECHO, VERIFICATION, (IMPLICIT,))
    role = [item(0x54, struct.pack(">H", len(MODEL)) + MODEL + roles)] if roles else []
    peer.socket.sendall(request(calling=TITLE.encode(), contexts=contexts, user=user_information(*role)))
    kind, _ = peer.answer()
    if kind != 2:
        raise ConnectionError(f"no association, but a PDU of type {kind}")
    return peer


def _pdu(value: bytes) -> bytes:
    return struct.pack(">BxL", 4, len(value)) + value


def _echo() -> bytes:
    fields = {0x0002: even(VERIFICATION), 0x0100: number(C_ECHO_RQ), 0x0110: number(ECHO_ID), 0x0800: number(NO_DATA_SET)}
    return _value(ECHO, 3, Message(fields, b"", "").command())


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
