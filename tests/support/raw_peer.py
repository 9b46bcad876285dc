"""A peer at the bare socket, which says what a library would not let one say."""

import contextlib
import socket
from collections.abc import Iterator
from struct import pack, unpack

APPLICATION_CONTEXT = pack(">BBH", 0x10, 0, 21) + b"1.2.840.10008.3.1.1.1"
VERIFICATION, IMPLICIT, EXPLICIT = b"1.2.840.10008.1.1", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
ACCEPTED, REJECTED, ABORTED, CLOSED = 0x02, 0x03, 0x07, 0


def item(kind: int, content: bytes) -> bytes:
    """An item or sub-item of an association PDU (PS3.8 9.3.1)."""
    return pack(">BBH", kind, 0, len(content)) + content


def proposal(number: int = 1, abstract: bytes = VERIFICATION, syntaxes: tuple[bytes, ...] = (IMPLICIT,)) -> bytes:
    """A Presentation Context Item of a request."""
    names = item(0x30, abstract) + b"".join(item(0x40, syntax) for syntax in syntaxes)
    return item(0x20, bytes([number, 0, 0, 0]) + names)


def acceptance(number: int, result: int = 0, syntax: bytes | None = IMPLICIT) -> bytes:
    """A Presentation Context Item of an acceptance; without `syntax`, no Transfer Syntax Sub-Item."""
    return item(0x21, bytes([number, 0, result, 0]) + (b"" if syntax is None else item(0x40, syntax)))


def user_information(*more: bytes, maximum: bytes = pack(">L", 16384), implementation: bytes = b"2.25.1") -> bytes:
    """A User Information Item with the mandatory sub-items and `more`."""
    return item(0x50, item(0x51, maximum) + item(0x52, implementation) + b"".join(more))


def request(
    called: bytes = b"HILUM",
    calling: bytes = b"MODALITY",
    contexts: bytes = proposal(),
    user: bytes = user_information(),
    version: int = 1,
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    titles = called.ljust(16) + calling.ljust(16)
    return _pdu(1, pack(">HH", version, 0) + titles + bytes(32) + APPLICATION_CONTEXT + contexts + user)


def answer(titles: bytes, contexts: bytes, user: bytes) -> bytes:
    """An A-ASSOCIATE-AC; `titles` are its 32 reserved bytes."""
    return _pdu(2, pack(">HH", 1, 0) + titles + bytes(32) + APPLICATION_CONTEXT + contexts + user)


def _pdu(kind: int, content: bytes) -> bytes:
    return pack(">BBL", kind, 0, len(content)) + content


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Type and content of the next PDU; type 0 where the other side closed the connection."""
    with contextlib.suppress(ConnectionError), connection.makefile("rb") as stream:
        head = stream.read(6)
        if len(head) == 6:
            kind, length = unpack(">BxL", head)
            return kind, stream.read(length)
    return CLOSED, b""


def said(port: int, sent: bytes) -> tuple[int, bytes]:
    """What the daemon at `port` answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(sent)
        return read_pdu(connection)


def results(pdu: bytes) -> Iterator[tuple[int, int]]:
    """ID and result of each presentation context of an A-ASSOCIATE-AC's content."""
    offset = 68
    while offset < len(pdu):
        kind, length = unpack(">BxH", pdu[offset : offset + 4])
        if kind == 0x21:
            yield pdu[offset + 4], pdu[offset + 6]
        offset += 4 + length
