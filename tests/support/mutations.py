"""Mutations that know the structure: DICOM files element by element, and conversations at the socket PDU by PDU.

The encodings are walked here by hand, for the libraries refuse to write what is to be tested.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom import uid
from pynetdicom import AE, evt

from dicom_io.phantom import studies
from dicom_io.phantom.thorax import draw_thorax
from tests.support.peers import data_set_bytes

VRS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # PS3.5 7.1.2: a length of four bytes
ITEM_GROUP = 0xFFFE
CHARSETS = (
    b"ISO_IR 100", b"ISO_IR 192", b"GB18030 ", b"ISO_IR 13 ", b"\\ISO 2022 IR 87", b"ISO 2022 IR 6\\ISO 2022 IR 149",
    b"ISO_IR 999", b"\\\\\\\\", b"utf8", b"ISO_IR 192\\ISO_IR 192", b"rot13 ", b"\xff\xfe", b"undefined", b"base64",
)  # fmt: skip
VALUES = (
    b"", b"\0\0", b"  ", b"\\", b"\\\\\\\\\\\\", b"-1", b"0 ", b"1e999 ", b"NaN ", b"-INF", b"99999999999999999999",
    b"\x1b$B\x1b(B", b"\x1b$)C\xb1\xe8", b"\xff" * 8, b"\xc3\x28", b"^^^^=^^=^", b"=" * 40, b"A" * 70_000,
    b"\r\n\x0c\x1b",
    b"00000000", b"99999999", b"20261332", b"25:61:61", b"1.2.840..10008", b"1." * 60, b"../../../etc/passwd",
    b"%s%n%x",
    b"001D", b"\x01\x00", b"\xff\xff", b"\x00\x80", b"\xff\xff\xff\xff", b"MONOCHROME1 ", b"PALETTE COLOR", b"RGB ",
    b"1\\0\\0\\1\\0\\0", b"0\\0\\0", b"'; DROP TABLE study; --",
)  # fmt: skip
SYNTAXES = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1, uid.JPEGLossless, uid.JPEGLSLossless,
    uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K,
)  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """An object to start from: the data set's bytes as a C-STORE carries them."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    data: bytes

    @classmethod
    def of(cls, file: bytes) -> "Seed":
        dataset = pydicom.dcmread(BytesIO(file), stop_before_pixels=True, force=True)
        return cls(
            str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(dataset.get("StudyInstanceUID", "")),
            str(dataset.file_meta.TransferSyntaxUID), data_set_bytes(file),
        )  # fmt: skip


def seeds(shared: Path | None, largest: int = 250_000) -> list[Seed]:
    """The phantoms' headers with small pictures in every transfer syntax, and the real files that are small."""
    picture = draw_thorax(1, "effusion", 64, 64)
    kinds = [(plan, plan.transfer_syntax_uid) for plan in studies._PLANS]
    kinds += [(studies._PLANS[0], syntax) for syntax in SYNTAXES]
    drawn = []
    for number, (plan, syntax) in enumerate(kinds):
        header = studies._data_set(replace(plan, size=picture.shape), number, seed=0)
        drawn.append(Seed.of(studies.part10(header, picture, syntax)))
    real = sorted((shared / "data" / "dicom").glob("*.dcm")) if shared else []
    for path in real:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if path.stat().st_size <= largest and "TransferSyntaxUID" in dataset.file_meta and "SOPClassUID" in dataset:
            drawn.append(Seed.of(path.read_bytes()))
    return drawn


# --- elements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Element:
    """Where an element of a data set lies; of a sequence and an item the head alone, their content follows."""

    start: int
    tag: tuple[int, int]
    vr: int  # offset, -1 in Implicit VR and for items
    length: int
    length_size: int
    value: int
    end: int


def walk(data: bytes | bytearray, implicit: bool, order: str) -> Iterator[Element]:
    """All elements in the order of their bytes, those in sequences and the fragments of pixel data too."""
    at = 0
    while at + 8 <= len(data):
        group, number = struct.unpack_from(order + "HH", data, at)
        vr, length_at, size = -1, at + 4, 4
        name = bytes(data[at + 4 : at + 6])
        if group != ITEM_GROUP and not implicit:
            vr, length_at, size = (at + 4, at + 8, 4) if name in LONG_VRS else (at + 4, at + 6, 2)
        if length_at + size > len(data):
            return
        (length,) = struct.unpack_from(order + ("H" if size == 2 else "L"), data, length_at)
        value = length_at + size
        fragment = group == ITEM_GROUP and _holds_no_elements(data, value, order)
        inside = length == 0xFFFFFFFF or (group == ITEM_GROUP and not fragment) or (vr >= 0 and name == b"SQ")
        end = value if inside else min(value + length, len(data))
        yield Element(at, (group, number), vr, length_at, size, value, end)
        at = end


def _holds_no_elements(data: bytes | bytearray, at: int, order: str) -> bool:
    """A fragment of pixel data looks like no element of an item."""
    if at + 4 > len(data):
        return True
    (group,) = struct.unpack_from(order + "H", data, at)
    return not (0x0008 <= group <= 0x6000 and group % 2 == 0) and group != ITEM_GROUP


Change = Callable[[bytearray, Element, str, random.Random], None]


def _another_length(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    most = (1 << 8 * e.length_size) - 1
    now = e.end - e.value
    wrong = (
        chance.choice([0, 1, 2, now + 1, now + 2, max(now - 2, 0), 2 * now, most, most - 1, most // 2, 100_000]) & most
    )
    struct.pack_into(order + ("H" if e.length_size == 2 else "L"), data, e.length, wrong)


def _another_vr(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    if e.vr >= 0:
        data[e.vr : e.vr + 2] = chance.choice([*VRS, b"\0\0", b"ZZ", b"??", bytes(chance.randbytes(2))])


def _another_tag(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    tags = [(0x0008, 0x0005), (0x0028, 0x0010), (0x7FE0, 0x0010), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD), (0x0009, 0x0010),
            (0x0040, 0xA730), (0x5400, 0x0100), (0, 0), (0xFFFF, 0xFFFF), (0x0028, 0x3010)]  # fmt: skip
    struct.pack_into(order + "HH", data, e.start, *chance.choice(tags))


def _another_value(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    replace_value(data, e, order, chance.choice(VALUES))


def replace_value(data: bytearray, e: Element, order: str, value: bytes) -> None:
    """Another value, of another length if need be, with the element's own length corrected."""
    value = value + b" " * (len(value) % 2)
    if e.length_size == 2:
        value = value[:0xFFFE]
    data[e.value : e.end] = value
    struct.pack_into(order + ("H" if e.length_size == 2 else "L"), data, e.length, len(value))


def _bytes_of_value(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 4, 40])):
        if e.end > e.value:
            data[chance.randrange(e.value, e.end)] = chance.choice(
                [0, 1, 0x5C, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )


def _gone(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    del data[e.start : e.end]


def _twice(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    data[e.start : e.start] = data[e.start : e.end]


def _sequence_before(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    """Sequences in sequences, closed or not, in front of the element, under a tag that a reader asks for."""
    tag = chance.choice([(0x0008, 0x1140), (0x0040, 0x0275), (0x0028, 0x3000), (0x0028, 0x3010), (0x0018, 0xA001)])
    explicit = b"SQ\0\0" if e.vr >= 0 else b""
    head = struct.pack(order + "HH", *tag) + explicit + b"\xff" * 4
    item = struct.pack(order + "HHL", ITEM_GROUP, 0xE000, chance.choice([0xFFFFFFFF, 0xFFFFFFFF, 0, 8, 0x7FFFFFFF]))
    ends = b"".join(struct.pack(order + "HHL", ITEM_GROUP, number, 0) for number in (0xE00D, 0xE0DD))
    depth = chance.choice([1, 1, 2, 20, 400, 1500])
    data[e.start : e.start] = (head + item) * depth + ends * chance.choice([depth, depth, 0, depth + 1])


def _cut(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    del data[chance.choice([e.start, e.length, e.value, (e.value + e.end) // 2, max(e.end - 1, 0)]) :]


def _insert(data: bytearray, e: Element, order: str, chance: random.Random) -> None:
    data[e.start : e.start] = chance.randbytes(chance.choice([1, 2, 8, 100]))


CHANGES: tuple[Change, ...] = (
    _another_value, _another_value, _another_value, _another_length, _another_vr, _another_tag, _bytes_of_value, _gone,
    _twice, _sequence_before, _cut, _insert,
)  # fmt: skip
"""A value is changed more often than the encoding: what still parses goes farther."""

PATIENT = {(0x0010, 0x0010): b"MUTATED", (0x0010, 0x0020): b"M1", (0x0010, 0x0030): b"19700101"}
"""Name, ID and Birth Date of the patient of every mutated object."""

_NUMBERS = {
    0x0002: (0, 2, 3, 4, 0xFFFF), 0x0004: (), 0x0006: (1, 7), 0x0008: (), 0x0010: (0, 1, 63, 65, 128, 0x7FFF, 0xFFFF),
    0x0011: (0, 1, 63, 65, 128, 0x7FFF, 0xFFFF),
    0x0100: (0, 1, 8, 12, 32, 64, 0xFFFF), 0x0101: (0, 1, 8, 16, 17, 0xFFFF),
    0x0102: (0, 7, 15, 16, 0xFFFF), 0x0103: (1, 2, 0xFFFF), 0x0120: (0, 0xFFFF),
}  # fmt: skip
"""Group 0028: Samples per Pixel to Pixel Padding Value, with numbers that contradict the pixels."""
_TEXTS = {
    0x0004: (b"MONOCHROME1 ", b"RGB ", b"PALETTE COLOR ", b"YBR_FULL_422", b"", b"MONOCHROME3 "),
    0x0008: (b"0 ", b"2 ", b"-1", b"99999999999 "), 0x1050: (b"0 ", b"NaN ", b"1e308 ", b"-1e308\\2 "),
    0x1051: (b"0 ", b"-5", b"1e-300", b"1 ", b"inf "), 0x1052: (b"1e300 ", b"NaN "),
    0x1053: (b"0 ", b"-1e300", b"1e-308"),
    0x1056: (b"SIGMOID ", b"LINEAR_EXACT", b"? "), 0x1054: (b"HU", b""), 0x0301: (b"YES ",),
}  # fmt: skip


def _image_element(data: bytearray, elements: list[Element], order: str, chance: random.Random) -> None:
    """One of group 0028 gets a value of its own kind that contradicts the picture, or the character set another."""
    known = [e for e in elements if e.tag[0] == 0x0028 and (_NUMBERS.get(e.tag[1]) or _TEXTS.get(e.tag[1]))]
    charset = [e for e in elements if e.tag == (0x0008, 0x0005)]
    if charset and chance.random() < 0.3:
        replace_value(data, charset[0], order, chance.choice(CHARSETS))
    elif known:
        e = chance.choice(known)
        texts = _TEXTS.get(e.tag[1])
        value = chance.choice(texts) if texts else struct.pack(order + "H", chance.choice(_NUMBERS[e.tag[1]]))
        replace_value(data, e, order, value)


def mutated(seed: Seed, chance: random.Random, study: str = "", instance: str = "") -> Seed:
    """One to four changes to a data set. `study` and `instance` replace its UIDs first, so that it is a new object.

    With `study` it also becomes an object of `PATIENT`, since all images of a study are of one patient."""
    implicit = seed.transfer_syntax_uid == uid.ImplicitVRLittleEndian
    order = ">" if seed.transfer_syntax_uid == uid.ExplicitVRBigEndian else "<"
    deflated = seed.transfer_syntax_uid == uid.DeflatedExplicitVRLittleEndian
    data = bytearray(zlib.decompress(seed.data, -zlib.MAX_WBITS) if deflated else seed.data)
    identity = {(0x0008, 0x0018): instance.encode(), (0x0020, 0x000D): study.encode(), **(PATIENT if study else {})}
    for tag, value in identity.items():
        for e in [e for e in walk(data, implicit, order) if e.tag == tag][:1] if value else []:
            replace_value(data, e, order, value)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        elements = list(walk(data, implicit, order))
        if not elements:
            break
        pixels = [e for e in elements if e.tag in ((0x7FE0, 0x0010), (ITEM_GROUP, 0xE000))]
        draw = chance.random()
        if draw < 0.25:
            _image_element(data, elements, order, chance)
        else:
            e = chance.choice(pixels) if pixels and draw < 0.4 else chance.choice(elements)
            chance.choice(CHANGES)(data, e, order, chance)
    out = bytes(data) or b"\0"  # a C-STORE has at least one fragment of a data set
    if deflated:
        out = zlib.compress(out, 1, -zlib.MAX_WBITS) if chance.random() < 0.8 else flipped(seed.data, chance)
    return Seed(seed.sop_class_uid, instance or seed.sop_instance_uid, study, seed.transfer_syntax_uid, out)


# --- at the socket -----------------------------------------------------------------------------------------------


def flipped(stream: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, a part cut out or doubled."""
    data = bytearray(stream or b"\0")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(4):
            case 0 | 1:
                data[at : at + 1] = bytes([chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])])
            case 2:
                del data[at : at + chance.randint(1, 40)]
            case _:
                data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data) or b"\0"


def conversation(port: int, file: bytes) -> list[bytes]:
    """The PDUs of a sender, from its association request to its release, for one small object (Part 10 bytes)."""
    said: list[bytes] = []
    dataset = pydicom.dcmread(BytesIO(file))
    ae = AE("FUZZ")
    ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    assoc = ae.associate(
        "127.0.0.1", port, ae_title="HILUM", evt_handlers=[(evt.EVT_DATA_SENT, lambda event: said.append(event.data))]
    )
    assert assoc.is_established
    assoc.send_c_store(dataset)
    assoc.release()
    return said


def mutated_conversation(pdus: list[bytes], chance: random.Random) -> bytes:
    """PDUs left out, doubled, in another order, with another type, length or content."""
    said = list(pdus)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(said)) if said else 0
        match chance.randrange(8) if said else 8:
            case 0:
                del said[at]
            case 1:
                said.insert(at, said[at])
            case 2:
                chance.shuffle(said)
            case 3:
                said[at] = bytes([chance.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])]) + said[at][1:]
            case 4:
                length = chance.choice([0, 1, len(said[at]), 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 17)])
                said[at] = said[at][:2] + struct.pack(">L", length) + said[at][6:]
            case 8:
                said.append(chance.randbytes(chance.choice([1, 6, 74, 5000])))
            case _:
                said[at] = flipped(said[at], chance)
    return b"".join(said)
