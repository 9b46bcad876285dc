"""The PDUs that open and end an association (PS3.8 9.3.2 to 9.3.8), reduced to what hilum negotiates.

pynetdicom's decoders refuse a whole PDU for one value that they do not expect, and devices send many such values in
fields that decide nothing. Here each PDU is read item by item, and written anew with the items that matter, before
pynetdicom sees it. This also bounds what pynetdicom does for a peer, however much the peer proposes.

A function here raises ProtocolError, which names the field, where the PDU cannot be read at all.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct, pack, unpack_from
from struct import error as StructError

from dicom_io.network.errors import ProtocolError
from dicom_io.printable import printable

ITEM_HEADER = Struct(">BxH")  # PS3.8 9.3.1: type, reserved, length of what follows
A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ABORT = 0x01, 0x02, 0x03, 0x07
FIXED_FIELDS = 74  # in bytes, PS3.8 Table 9-11: what stands before the items
AE_TITLES_END = 42
APPLICATION_CONTEXT, CONTEXT_RQ, CONTEXT_AC, ABSTRACT, TRANSFER, USER_INFORMATION = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
MAXIMUM_LENGTH, CLASS_UID, ROLE, VERSION_NAME = 0x51, 0x52, 0x54, 0x55
APPLICATION_CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
USUAL_MAXIMUM_LENGTH = 16384  # in bytes, where the peer announces none that can be read
SHORTEST_MAXIMUM_LENGTH = 7  # in bytes: the header of a presentation data value and one byte
LONGEST_VERSION_NAME = 16  # PS3.7 D.3.3.2.3
LONGEST_UID = 64
NO_UID = b"0"  # stands for a syntax that the peer names wrongly, or that nobody reads; hilum supports none of this name
PROVIDER_REJECTION, SYNTAXES_NOT_SUPPORTED = 2, 4  # PS3.8 Table 9-18
REASONS = {1: (1, 2, 3, 7), 2: (1, 2), 3: (1, 2)}  # PS3.8 Table 9-21: by source
ABORT_REASONS = (0, 1, 2, 4, 5, 6)  # PS3.8 Table 9-26


@dataclass(frozen=True)
class Titles:
    """The AE titles that an association request names, as printable ASCII; "" where the PDU has none."""

    calling: str = ""
    called: str = ""


def ae_titles(pdu: bytes) -> Titles:
    """Read the AE titles of an A-ASSOCIATE-RQ, of which the first 42 bytes are enough. Raises nothing."""
    return Titles(calling=_title(pdu[26:AE_TITLES_END]), called=_title(pdu[10:26]))


def _title(field: bytes) -> str:
    """An AE title: old devices end it by NUL or pad it with NUL, PS3.8 Table 9-11 pads it with spaces."""
    return printable(field.partition(b"\0")[0].decode("latin-1").strip())


def protocol_version_fault(pdu: bytes) -> str:
    """What is wrong with the protocol version of an A-ASSOCIATE-RQ, or "". PS3.8 9.3.2: only bit 0 is tested."""
    version = int.from_bytes(pdu[6:8], "big")
    return "" if version & 1 else f"Protocol Version {version}, expected 1"


def reduced_request(pdu: bytes, offered: Mapping[bytes, Collection[bytes]]) -> bytes:
    """An A-ASSOCIATE-RQ with what we negotiate.

    `offered` has the transfer syntaxes that we accept of each abstract syntax. Each presentation context is left with
    one transfer syntax: the first in the sender's order that is offered, or one that nobody knows, so that each context
    gets its answer. The acceptor may choose (PS3.8 9.3.3.2), and senders propose first the syntax that they hold the
    object in. Contexts with an ID that is even or was used before are left out.
    """
    contexts: dict[int, bytes] = {}
    classes = set()
    for kind, value in _items(_variable(pdu), "A-ASSOCIATE-RQ"):
        context_id = value[0] if kind == CONTEXT_RQ and len(value) >= 4 else 0
        if context_id % 2 and context_id not in contexts:  # PS3.8 9.3.2.2: odd
            abstract, syntax = _proposed(value, offered)
            classes.add(abstract)
            names = _item(ABSTRACT, abstract) + _item(TRANSFER, syntax)
            contexts[context_id] = _item(CONTEXT_RQ, pack(">B3x", context_id) + names)
    if not contexts:
        raise ProtocolError("no Presentation Context Item with an odd ID")
    return _request(ae_titles(pdu), pdu[6:8], b"".join(contexts.values()) + _user_information(pdu, classes))


def bare_request(titles: Titles) -> bytes:
    """An A-ASSOCIATE-RQ that proposes nothing, in place of one that cannot be read and is to be rejected."""
    return _request(titles, b"\0\1", _item(USER_INFORMATION, _item(MAXIMUM_LENGTH, pack(">L", USUAL_MAXIMUM_LENGTH))))


def _request(titles: Titles, version: bytes, items: bytes) -> bytes:
    called, calling = ((title or "?").encode("ascii").ljust(16) for title in (titles.called, titles.calling))
    version = b"\0\1" if version[1] & 1 else version
    return _pdu(A_ASSOCIATE_RQ, version + b"\0\0" + called + calling + b"\0" * 32, items)


def _proposed(value: bytes, offered: Mapping[bytes, Collection[bytes]]) -> tuple[bytes, bytes]:
    """Abstract syntax, and the transfer syntax that is left, of a Presentation Context Item (PS3.8 9.3.2.2).

    Of a class that we do not support, the transfer syntaxes are not even read.
    """
    abstract = b""
    syntaxes = []
    for kind, content in _items(value[4:], "Presentation Context Item"):
        if kind == TRANSFER:
            syntaxes.append(content.strip(b"\0 "))
        elif kind == ABSTRACT and not abstract:
            abstract = _uid(content.strip(b"\0 "))
            if abstract not in offered:
                break
    wanted = offered.get(abstract, ())
    return abstract or NO_UID, next((name for name in syntaxes if name in wanted), NO_UID)


def reduced_acceptance(pdu: bytes, proposed: Mapping[int, Collection[bytes]], roles: Collection[bytes]) -> bytes:
    """An A-ASSOCIATE-AC with what we asked for.

    `proposed` has the transfer syntaxes of each context by its ID. A context that the peer accepts with a syntax that
    was not proposed counts as rejected. `roles` are the SOP classes for which we proposed roles. The AE titles of the
    PDU are not to be tested (PS3.8 9.3.3) and are left out.
    """
    contexts: dict[int, bytes] = {}
    for kind, value in _items(_variable(pdu), "A-ASSOCIATE-AC"):
        if kind != CONTEXT_AC or len(value) < 4 or value[0] not in proposed or value[0] in contexts:
            continue
        context_id, result = value[0], min(value[2], SYNTAXES_NOT_SUPPORTED)
        names = [v.strip(b"\0 ") for k, v in _items(value[4:], "Presentation Context Item") if k == TRANSFER]
        name = names[0] if names else b""
        if result == 0 and name not in proposed[context_id]:
            result = SYNTAXES_NOT_SUPPORTED
        contexts[context_id] = _answer(context_id, result, name if result == 0 else NO_UID)
    for context_id in proposed:
        contexts.setdefault(context_id, _answer(context_id, PROVIDER_REJECTION, NO_UID))
    items = b"".join(contexts.values()) + _user_information(pdu, roles)
    return _pdu(A_ASSOCIATE_AC, b"\0\1\0\0" + b" " * 32 + b"\0" * 32, items)


def _answer(context_id: int, result: int, syntax: bytes) -> bytes:
    return _item(CONTEXT_AC, pack(">BxBx", context_id, result) + _item(TRANSFER, syntax))


def reduced_end(pdu: bytes) -> bytes:
    """An A-ASSOCIATE-RJ or A-ABORT whose codes are of the standard; others become "no reason given"."""
    kind = pdu[0]
    _, result, source, reason = pdu[6:10].ljust(4, b"\0")
    if kind == A_ASSOCIATE_RJ:
        source, reason = (source, reason) if reason in REASONS.get(source, ()) else (1, 1)
        return _pdu(kind, bytes([0, 2 if result == 2 else 1, source, reason]))
    from_provider = source == 2
    return _pdu(kind, bytes([0, 0, 2 if from_provider else 0, reason if reason in ABORT_REASONS else 0]))


# --- user information (PS3.7 D.3.3) ----------------------------------------------------------------------------------


def _user_information(pdu: bytes, roles: Collection[bytes]) -> bytes:
    """The User Information Item with the maximum length, the peer's names, and role selection for the classes `roles`.

    What we do not negotiate is left out, and with it everything that a vendor adds: other operations windows, extended
    negotiation, user identity (PS3.7 D.3.3.7: an acceptor that does not support it ignores it).
    """
    found: dict[int, bytes] = {}
    selected: dict[bytes, bytes] = {}
    whole = b"".join(v for k, v in _items(_variable(pdu), "association PDU") if k == USER_INFORMATION)
    for kind, value in _items(whole, "User Information Item"):
        if kind == ROLE:
            uid = _role_class(value)
            if uid in roles and uid not in selected:
                selected[uid] = _role(uid, value)
        elif kind in (MAXIMUM_LENGTH, CLASS_UID, VERSION_NAME):
            found.setdefault(kind, value)
    items = [_item(MAXIMUM_LENGTH, pack(">L", _maximum_length(found.get(MAXIMUM_LENGTH, b""))))]
    items += [_item(kind, name) for kind, name in _names(found) if name]
    return _item(USER_INFORMATION, b"".join([*items, *selected.values()]))


def _maximum_length(value: bytes) -> int:
    """PS3.8 D.1: 0 means any length."""
    if len(value) != 4:
        return USUAL_MAXIMUM_LENGTH
    (length,) = unpack_from(">L", value)
    if 0 < length < SHORTEST_MAXIMUM_LENGTH:
        raise ProtocolError(f"Maximum Length Received {length}")
    return int(length)


def _names(found: Mapping[int, bytes]) -> Iterator[tuple[int, bytes]]:
    """The peer's implementation, PS3.7 D.3.3.2: it identifies, and decides nothing."""
    yield CLASS_UID, _uid(found.get(CLASS_UID, b"").strip(b"\0 "))
    yield VERSION_NAME, _title(found.get(VERSION_NAME, b""))[:LONGEST_VERSION_NAME].strip().encode("ascii")


def _role_class(value: bytes) -> bytes:
    """SOP class of a role selection (PS3.7 D.3.3.4); b"" where the item is cut short."""
    stop = 2 + int.from_bytes(value[:2], "big")
    return value[2:stop].strip(b"\0 ") if len(value) >= stop + 2 else b""


def _role(uid: bytes, value: bytes) -> bytes:
    """The item of a role selection, written anew for its class `uid`."""
    stop = 2 + int.from_bytes(value[:2], "big")
    return _item(ROLE, pack(">H", len(uid)) + uid + bytes([value[stop] == 1, value[stop + 1] == 1]))


# --- items -----------------------------------------------------------------------------------------------------------


def _uid(name: bytes) -> bytes:
    """`name` where it can be a UID, else b""."""
    return name if len(name) <= LONGEST_UID and not name.strip(b"0123456789.") else b""


def _variable(pdu: bytes) -> bytes:
    if len(pdu) < FIXED_FIELDS:
        raise ProtocolError(f"association PDU of {len(pdu)} bytes")
    return pdu[FIXED_FIELDS:]


def _items(data: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each item (PS3.8 9.3.1). NUL bytes after the last item are ignored."""
    offset = 0
    while data[offset : offset + 4].strip(b"\0"):
        try:
            kind, length = ITEM_HEADER.unpack_from(data, offset)
        except StructError as error:
            raise ProtocolError(f"{where} cut short") from error
        offset += 4
        if offset + length > len(data):
            raise ProtocolError(f"item {kind:02X}H longer than its {where}")
        yield kind, data[offset : offset + length]
        offset += length


def _item(kind: int, content: bytes) -> bytes:
    return pack(">BxH", kind, len(content)) + content


def _pdu(kind: int, fields: bytes, items: bytes = b"") -> bytes:
    if kind in (A_ASSOCIATE_RQ, A_ASSOCIATE_AC):
        items = _item(APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME) + items
    return pack(">BxL", kind, len(fields) + len(items)) + fields + items
