"""Mutated messages of the Storage Commitment Push Model, N-ACTION and N-EVENT-REPORT, over proper associations."""

import random
import struct
from datetime import UTC, datetime

from tests.conftest import wait_for
from tests.support.commit_messages import (
    DATA,
    MODEL,
    NO_DATA_SET,
    SYNTAXES,
    Message,
    exchange,
    message,
    number,
    opened,
    pdu,
    value,
)
from tests.support.harness import Daemon
from tests.support.mutations import VALUES, Seed, flipped, mutated
from tests.support.raw_peer import VERIFICATION
from tests.system.fuzzing.figures import Figures

KIND = "commitment messages"
TITLE, ADDRESS = "COMMITTER", "127.0.0.3"  # our own, so that the daemon counts our violations and nobody else's
C_CANCEL_RQ = 0x0FFF
OTHER_COMMANDS = (
    0x0001,
    0x0010,
    0x0020,
    0x0030,
    0x0110,
    0x0120,
    0x0140,
    0x0150,
    0x8130,
    0x8100,
    0x8001,
    0x0FFF,
    0x4242,
)
FAR = datetime(9000, 1, 1, tzinfo=UTC)
ROLES = (b"", b"\0\1", b"\1\0", b"\1\1")  # SCU and SCP, PS3.7 D.3.3.4


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
    return [value(DATA, command | 2 * (n == len(cuts) - 1), cut) for n, cut in enumerate(cuts)]


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
            answer = exchange(self._daemon.port, pieces, made.syntax, TITLE, ADDRESS, chance.choice(ROLES))
        except OSError as error:
            answer = type(error).__name__
        self._figures.note(KIND, answer)
        cancel = struct.pack("<HHLH", 0, 0x0100, 2, C_CANCEL_RQ)  # it may lie across two fragments
        cancelled = cancel in b"".join(pieces) or cancel in b"".join(piece[6:] for piece in pieces)
        if answer not in ("aborted", "unanswered") and len(answer) != 4:
            self._figures.findings.append(f"a commitment message ended in {answer}: {pieces!r:.1000}")
        if answer == "unanswered" and not cancelled:
            self._figures.findings.append(f"a commitment message was not answered: {pieces!r:.1000}")

    def look(self) -> None:
        """Every abort is on record, and every request that was taken has been answered by a report."""
        aborted = self._figures.answers[KIND]["aborted"]

        def on_record() -> bool:
            rows = [e for e in list(self._daemon.events) if e.get("kind") == "protocol-violation"]
            return sum(1 + int(e["held_back"]) for e in rows if e["peer_address"] == ADDRESS) >= aborted + 1

        def break_the_protocol() -> bool:
            peer = opened(self._daemon.port, SYNTAXES[0], TITLE, ADDRESS)
            peer.socket.sendall(pdu(value(DATA, 2, b"no command before it")))
            peer.answer()
            peer.close()
            return on_record()

        wait_for(break_the_protocol, 30, "every abort to be on record")
        with self._daemon.journal() as journal:
            wait_for(lambda: not list(journal.unanswered(FAR)), 300, "the commitment reports")
        lost = sum(e.get("event") == "commitment report not delivered" for e in list(self._daemon.events))
        self._figures.findings += [f"{lost} commitment reports were not delivered"] if lost else []
