"""The bytes of Pixel Data, read from where the header ends, without a copy of the whole data set."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.header import Header, open_data_set
from dicom_io.image.no_picture import NoPixels, Truncated, Unsupported

PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_DELIMITATION = 0xFFFEE000, 0xFFFEE0DD  # PS3.5 7.5
# what ends the fragments: the right delimiter, that of an item, Digital Signatures and Data Set Trailing Padding
_ENDS = frozenset({_SEQUENCE_DELIMITATION, 0xFFFEE00D, 0xFFFAFFFA, 0xFFFCFFFC})
_FRAGMENT_LIMIT = 1 << 16


@dataclass(frozen=True)
class _Element:
    length: int
    little_endian: bool


def read_native(header: Header, cells: int, bits_allocated: int) -> NDArray[Any]:
    """Read the first `cells` pixel cells (PS3.5 8.1.1) as uint8 or uint16 [cells].

    Raises NoPixels, Truncated, Unsupported.
    """
    kind = np.dtype(np.uint8 if bits_allocated == 8 else np.uint16)
    with open_data_set(header) as stream:
        element = _read_element(stream, header)
        if element.length == _UNDEFINED:
            raise Unsupported("Pixel Data is encapsulated, but the transfer syntax says that it is not")
        wanted = cells * kind.itemsize
        if element.length < wanted:
            raise Truncated(f"Pixel Data has {element.length} bytes, the header calls for {wanted}")
        values = np.empty(cells, kind)
        got = _read_into(stream, values.data.cast("B"))
    if got < wanted:
        raise Truncated(f"the file ends after {got} of {wanted} bytes of Pixel Data")
    if element.little_endian:
        return values
    if bits_allocated == 8:  # PS3.5 8.2: in OW each pair of 8-bit cells is swapped
        return values if _is_ob(header) else _swapped_pairs(values)
    return values.byteswap()


def read_frame(header: Header) -> bytes:
    """Read the fragments of encapsulated Pixel Data (PS3.5 A.4), joined to one frame.

    Raises NoPixels, Truncated, Unsupported.
    """
    with open_data_set(header) as stream:
        element = _read_element(stream, header)
        if element.length != _UNDEFINED:
            raise Unsupported("Pixel Data is not encapsulated, but the transfer syntax says that it is")
        fragments = list(_fragments(stream))
    frame = b"".join(fragments[1:])  # the first item is the Basic Offset Table
    if not frame:
        raise Truncated("encapsulated Pixel Data holds no fragment")
    return frame


def _read_element(stream: BinaryIO, header: Header) -> _Element:
    """Read tag, VR and length of Pixel Data and leave the stream at its value."""
    stream.seek(header.pixel_offset)
    start = stream.read(12)
    if len(start) < 8:
        raise NoPixels("no Pixel Data")
    little = struct.unpack_from("<HH", start) in ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009))
    order = "<" if little else ">"
    group, element = struct.unpack_from(f"{order}HH", start)
    tag = group << 16 | element
    if tag in (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
        raise Unsupported("Pixel Data of floating point numbers is not read")
    if tag != PIXEL_DATA:
        raise NoPixels("no Pixel Data")
    if start[4:6] in (b"OB", b"OW", b"UN"):  # explicit VR, PS3.5 7.1.2; else implicit
        if len(start) < 12:
            raise Truncated("the file ends at the start of Pixel Data")
        length = struct.unpack_from(f"{order}L", start, 8)[0]
    else:
        length = struct.unpack_from(f"{order}L", start, 4)[0]
        stream.seek(-4 if len(start) == 12 else 0, 1)
    return _Element(length, little)


def _fragments(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the Basic Offset Table and the fragments, up to the sequence delimiter or the end of the file.

    Some writers leave the delimiter out. Whether the frame is whole is then for its end marker, or RLE's segments, to
    say. Raises Truncated for a fragment that is cut short, and where neither an item nor an end is found.
    """
    length = 0
    for _ in range(_FRAGMENT_LIMIT):
        tag, length = _read_item(stream, after_odd_length=length % 2 == 1)
        if tag in _ENDS:
            return
        if tag != _ITEM:
            break
        fragment = stream.read(length) if length != _UNDEFINED else b""
        if len(fragment) < length:
            raise Truncated(f"the file ends after {len(fragment)} of {length} bytes of a fragment of Pixel Data")
        yield fragment
    raise Truncated("the fragments of Pixel Data are broken: an item was expected")


def _read_item(stream: BinaryIO, after_odd_length: bool) -> tuple[int, int]:
    """Read tag and length; the end of the file counts as a sequence delimiter.

    PS3.5 A.4 has fragments of even length. Where a length is odd, a padding byte that it does not count may follow.
    """
    start = stream.read(8)
    if after_odd_length and start[:3] == b"\0\xfe\xff":
        start = start[1:] + stream.read(1)
    if len(start) < 8:
        return _SEQUENCE_DELIMITATION, 0
    group, element, length = struct.unpack("<HHL", start)
    return group << 16 | element, length


def _read_into(stream: BinaryIO, view: memoryview) -> int:
    """Fill `view` from the stream; return how many bytes there were."""
    at = 0
    while at < len(view):
        got = stream.readinto(view[at:])  # type: ignore[attr-defined]  # files and BytesIO have readinto
        if not got:
            break
        at += got
    return at


def _is_ob(header: Header) -> bool:
    with open_data_set(header) as stream:
        stream.seek(header.pixel_offset + 4)
        return stream.read(2) == b"OB"


def _swapped_pairs(values: NDArray[Any]) -> NDArray[Any]:
    even = values[: len(values) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
    return np.concatenate([even, values[len(even) :]])
