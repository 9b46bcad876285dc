"""The elements of a data set up to a given one, read in one pass and within limits (PS3.5 7).

A few kilobytes on the wire can hold, or inflate to, millions of elements or one enormous value. So only elements that
the data dictionary knows are kept, because nothing here asks for any other; the rest is passed over, however large it
is. What is kept has a limit, and so have the number of elements and the depth of sequences. A sequence is followed to
its end but stays raw bytes: pydicom reads it when somebody asks for it.
"""

from collections.abc import Callable
from io import SEEK_CUR
from struct import Struct
from typing import BinaryIO

from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dicom_io.image.no_picture import NotDicom, TooLarge

ELEMENT_LIMIT = 100_000  # elements and items before Pixel Data, those in sequences included; radiographs have hundreds
DEPTH_LIMIT = 32  # of sequences in sequences
KEPT_LIMIT = 4 << 20  # bytes of values; the largest values that are used are VOI LUTs, of 128 kB each
BULK_LIMIT = 1 << 16  # bytes; a larger value of numbers outside of sequences is passed over, because none is used

_ITEM, _ITEM_DELIMITATION, _SEQUENCE_DELIMITATION = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD  # PS3.5 7.5
_UNDEFINED = 0xFFFFFFFF
_TOO_SMALL_TO_FOLLOW = 16 * DEPTH_LIMIT  # bytes: each level has an element and an item of 8 bytes at least
_LONG_VRS = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)  # PS3.5 7.1.2: with a length of four bytes
_BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "OB or OW"})
_VR_OF_TAG: dict[int, str] = {tag: row[0] for tag, row in DicomDictionary.items()}


def read_elements(stream: BinaryIO, implicit: bool, little_endian: bool, until: Callable[[int], bool]) -> Dataset:
    """Return the elements before the first one whose tag `until` is true for, their values as raw bytes.

    The stream is left at the start of that element, or at its end. `implicit` and `little_endian` are what the transfer
    syntax says; a data set that begins with the other kind of VR is read by that. Elements that are private, or that
    the data dictionary does not know, are left out, and so are values of bulk VRs beyond BULK_LIMIT and sequences that
    hold no items.
    Raises TooLarge beyond a limit, and NotDicom for a sequence without its end.
    """
    implicit = _begins_implicit(stream, implicit)
    reader = _Reader(stream, implicit, little_endian)
    try:
        dataset = Dataset(reader.top_level(until))  # type: ignore[arg-type]
    except _Misread:
        raise NotDicom("not a readable data set: it ends in the middle of an element or sequence") from None
    dataset.set_original_encoding(implicit, little_endian)
    return dataset


def _begins_implicit(stream: BinaryIO, expected: bool) -> bool:
    """Tell by the first element whether VRs are left out; many senders announce one and send the other."""
    head = stream.read(6)
    stream.seek(-len(head), SEEK_CUR)
    return expected if len(head) < 6 else not _is_vr(head[4:])


def _is_vr(two_bytes: bytes) -> bool:
    return two_bytes.isalpha() and two_bytes.isupper()


class _Misread(Exception):
    """The bytes are not the items or elements that they were taken for."""


class _Reader:
    """One pass over a data set."""

    def __init__(self, stream: BinaryIO, implicit: bool, little_endian: bool):
        order = "<" if little_endian else ">"
        self._stream, self._implicit, self._little_endian = stream, implicit, little_endian
        self._implicit_head, self._explicit_head = Struct(f"{order}HHL").unpack, Struct(f"{order}HH2sH").unpack
        self._long = Struct(f"{order}L").unpack
        self._item_tag = Struct(f"{order}HH").pack(0xFFFE, 0xE000)
        self._elements, self._room = ELEMENT_LIMIT, KEPT_LIMIT
        self._tape: list[bytes] | None = None  # the bytes of the sequence that is kept

    def top_level(self, until: Callable[[int], bool]) -> dict[BaseTag, RawDataElement]:
        found: dict[BaseTag, RawDataElement] = {}
        while head := self._head():
            tag, vr, length, size = head
            if until(tag):
                self._stream.seek(-size, SEEK_CUR)
                break
            if tag == _ITEM_DELIMITATION:
                break
            value = self._value(tag, vr, length)
            if value is not None:
                kind = "SQ" if length == _UNDEFINED and vr in (None, "UN") else vr
                implicit = self._implicit or vr is None
                element = BaseTag(tag), kind, len(value), value, 0, implicit, self._little_endian
                found[element[0]] = RawDataElement(*element)
        return found

    def _head(self) -> tuple[int, str | None, int, int] | None:
        """Read tag, VR (None: left out), length and the size of all that; None where the data set ends."""
        start = self._stream.read(8)
        if len(start) < 8:
            return None
        self._note(start)
        self._count(1)
        if not self._implicit:
            group, element, vr, length = self._explicit_head(start)
            if vr in _LONG_VRS:
                length = self._long(self._read(4))[0]
                return group << 16 | element, vr.decode(), length, 12
            if b"AA" <= vr <= b"ZZ":  # also a damaged VR; else it is left out, as some senders do in sequences
                return group << 16 | element, vr.decode("latin-1"), length, 8
        group, element, length = self._implicit_head(start)
        return group << 16 | element, None, length, 8

    def _value(self, tag: int, vr: str | None, length: int) -> bytes | None:
        """Read the value of an element outside of sequences; None if it is passed over."""
        known = _VR_OF_TAG.get(tag)
        bulk = (known if vr in (None, "UN") else vr) in _BULK_VRS
        if known is None or (bulk and length > BULK_LIMIT):
            self._pass_over(vr, length)
            return None
        if length != _UNDEFINED and not _is_sequence(vr, known):
            self._take(length)
            return self._stream.read(length)
        self._tape = []
        self._sequence(None if length == _UNDEFINED else self._stream.tell() + length, 1, nested=not bulk)
        value = b"".join(self._tape)
        self._tape = None
        value = value[:-8] if length == _UNDEFINED else value  # without the delimitation item
        return value if value[:4] in (b"", self._item_tag) else None  # some anonymizers write a text for a sequence

    def _pass_over(self, vr: str | None, length: int) -> None:
        if length == _UNDEFINED:
            self._sequence(None, 1, nested=vr not in _BULK_VRS)
        elif length:
            self._stream.seek(length, SEEK_CUR)

    # --- within sequences

    def _sequence(self, end: int | None, depth: int, nested: bool) -> None:
        """Follow items up to `end`, or to the delimitation item. `nested`: they hold elements and not fragments."""
        if depth > DEPTH_LIMIT:
            raise TooLarge(f"sequences nested more than {DEPTH_LIMIT} deep before Pixel Data")
        if end is not None and end - self._stream.tell() <= _TOO_SMALL_TO_FOLLOW:
            self._give_up(end)
            return
        try:
            while end is None or self._stream.tell() < end:
                tag, length = self._item_head()
                if tag == _SEQUENCE_DELIMITATION and end is None:
                    return
                if tag != _ITEM or (length == _UNDEFINED and not nested):
                    raise _Misread
                inner = None if length == _UNDEFINED else self._bounded(length, end)
                if nested:
                    self._item(inner, depth)
                else:
                    self._content(length)
        except _Misread:
            self._give_up(end)

    def _item(self, end: int | None, depth: int) -> None:
        """Follow the elements of an item up to `end`, or to its delimitation item."""
        try:
            while end is None or self._stream.tell() < end:
                head = self._head()
                if head is None:
                    raise _Misread
                tag, vr, length, _ = head
                if tag == _ITEM_DELIMITATION:
                    if end is None:
                        return
                    raise _Misread
                inner = None if length == _UNDEFINED else self._bounded(length, end)
                if inner is None or _is_sequence(vr, _VR_OF_TAG.get(tag)):
                    self._sequence(inner, depth + 1, nested=vr not in _BULK_VRS)
                else:
                    self._content(length)
        except _Misread:
            self._give_up(end)

    def _item_head(self) -> tuple[int, int]:
        start = self._read(8)
        self._count(1)
        group, element, length = self._implicit_head(start)  # PS3.5 7.5: items never have a VR
        return group << 16 | element, length

    def _bounded(self, length: int, end: int | None) -> int:
        """Where a value of this length ends. Raises _Misread if that is beyond the end of what it is in."""
        inner = self._stream.tell() + length
        if end is not None and inner > end:
            raise _Misread
        return inner

    def _give_up(self, end: int | None) -> None:
        """Take the rest up to `end` for what it may be at worst: elements without a value, all of them."""
        rest = -1 if end is None else end - self._stream.tell()
        if rest < 0:
            raise _Misread
        self._content(rest)
        self._count(rest // 8)

    def _content(self, length: int) -> None:
        if self._tape is None:
            self._stream.seek(length, SEEK_CUR)
        elif length:
            self._take(length)
            self._tape.append(self._stream.read(length))

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise _Misread
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        if self._tape is not None:
            self._take(len(data))
            self._tape.append(data)

    def _count(self, elements: int) -> None:
        self._elements -= elements
        if self._elements < 0:
            raise TooLarge(f"more than {ELEMENT_LIMIT} elements before Pixel Data")

    def _take(self, length: int) -> None:
        self._room -= length
        if self._room < 0:
            raise TooLarge(f"more than {KEPT_LIMIT >> 20} MiB of values before Pixel Data")


def _is_sequence(vr: str | None, known: str | None) -> bool:
    return vr == "SQ" or (vr in (None, "UN") and known == "SQ")
