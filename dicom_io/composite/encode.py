"""Encode DICOM elements to bytes in Explicit VR Little Endian (PS3.5 7.1.2).

A result object consists of a few hundred small elements. Most are the same in every object; a few are copied from the
image byte for byte. Writing the bytes directly keeps a copied value unchanged, cannot fail because of its content, and
takes a twentieth of the time that a tree of `pydicom.Dataset` needs. The tests read everything back with pydicom.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from struct import pack

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dicom_io.printable import printable, unaccented

SHORT_VR_MAXIMUM = 0xFFFE  # the largest even number that fits in a length of 16 bits
# where PS3.6 leaves the choice: our pixels have 8 bits allocated (PS3.5 8.1.2), our LUTs have words for unsigned values
CHOSEN_VR = {"OB or OW": "OB", "US or SS": "US", "US or OW": "OW"}


@cache
def tag_and_vr(keyword: str) -> tuple[int, str]:
    """Return tag and VR of a keyword of PS3.6. Raises KeyError for any other word."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"{keyword!r} is not a keyword of PS3.6")
    vr = dictionary_VR(tag)
    return int(tag), CHOSEN_VR.get(vr, vr)


@cache
def _prefix(keyword: str) -> tuple[bytes, bool, bytes]:
    """The bytes before the length, whether the length has 32 bits, and the padding byte (PS3.5 6.2)."""
    tag, vr = tag_and_vr(keyword)
    long = vr in EXPLICIT_VR_LENGTH_32
    prefix = pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + (b"\0\0" if long else b"")
    return prefix, long, b"\0" if vr in ("UI", "OB", "UN") else b" "


def element(keyword: str, value: str | bytes = b"") -> bytes:
    """Encode one element. Text must be ASCII, which every Specific Character Set contains; bytes are not converted.

    `repertoire.Repertoire` makes the bytes of text with accents.

    Raises ValueError for a value too long for the length field, UnicodeEncodeError for text that is not ASCII.
    """
    prefix, long, padding = _prefix(keyword)
    data = value.encode("ascii") if isinstance(value, str) else value
    if len(data) % 2:
        data += padding
    if not long and len(data) > SHORT_VR_MAXIMUM:
        raise ValueError(f"{keyword} has {len(data)} bytes, at most {SHORT_VR_MAXIMUM} fit")
    return prefix + pack("<I" if long else "<H", len(data)) + data


def number(keyword: str, *values: int) -> bytes:
    """Encode one element of VR US with one or more values."""
    return element(keyword, pack(f"<{len(values)}H", *values))


def longs(keyword: str, *values: int) -> bytes:
    """Encode one element of VR SL with one or more values."""
    return element(keyword, pack(f"<{len(values)}l", *values))


def unsigned_longs(keyword: str, *values: int) -> bytes:
    """Encode one element of VR UL with one or more values."""
    return element(keyword, pack(f"<{len(values)}L", *values))


def tag_of(keyword: str, pointed: str) -> bytes:
    """Encode one element of VR AT, whose value is the tag of the keyword `pointed`."""
    tag, _ = tag_and_vr(pointed)
    return element(keyword, pack("<HH", tag >> 16, tag & 0xFFFF))


def floats(keyword: str, *values: float) -> bytes:
    """Encode one element of VR FL with one or more values."""
    return element(keyword, pack(f"<{len(values)}f", *values))


def item(*elements: bytes) -> bytes:
    """Encode one item of a sequence. The caller gives `elements` in the order of their tags (PS3.5 7.5)."""
    data = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + pack("<I", len(data)) + data


def sequence(keyword: str, items: Iterable[bytes] = ()) -> bytes:
    """Encode one element of VR SQ, with explicit length, from encoded items."""
    return element(keyword, b"".join(items))


def encapsulated_pixel_data(frame: bytes) -> bytes:
    """Encode Pixel Data of one compressed frame: empty offset table, one fragment, delimiter (PS3.5 A.4)."""
    fragment = frame + b"\0" * (len(frame) % 2)
    return b"".join((
        b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff",
        b"\xfe\xff\x00\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0" + pack("<I", len(fragment)) + fragment,
        b"\xfe\xff\xdd\xe0\0\0\0\0",
    ))  # fmt: skip


def dataset(elements: Mapping[str, bytes]) -> bytes:
    """Join encoded elements, given by keyword, to a data set in the order of their tags."""
    return b"".join(elements[keyword] for keyword in sorted(elements, key=lambda word: tag_and_vr(word)[0]))


def plain(text: str, length: int) -> str:
    """Cut `text` to `length` characters of printable ASCII: accents are dropped, a question mark stands for the rest.

    It stands for the backslash too, which separates values. Blanks around the result are removed.
    """
    return printable(unaccented(text))[:length].strip()
