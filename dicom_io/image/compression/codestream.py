"""What a compressed frame says about itself: the header inside it, and whether it is whole."""

import re
import struct
from dataclasses import dataclass

from dicom_io.image.compression.jpeg2000 import codestream_start, decompositions
from dicom_io.image.no_picture import Truncated, Undecodable

_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_SOT_LENGTH = 12  # bytes of the marker segment that starts a tile part
# In a scan a marker is 0xFF and a byte that neither stuffing (0x00; in JPEG-LS below 0x80) nor a restart marker gives.
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd9-\xfe]")


@dataclass(frozen=True)
class Codestream:
    """The properties of a compressed frame, from the header inside it."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False  # only JPEG 2000 can say so
    resolutions: int = 0  # how many times JPEG 2000 can be decoded at half the size


def read_sof(frame: bytes) -> Codestream:
    """Read the frame header of JPEG or JPEG-LS, SOF0..15 or SOF55 (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2).

    Raises Undecodable.
    """
    at = 2
    while at + 10 <= len(frame) and frame[:2] == b"\xff\xd8":
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
            return Codestream(rows, columns, samples, precision)
        alone = marker == 0xFF01 or 0xFFD0 <= marker <= 0xFFD7  # TEM and RSTn have no length
        if marker < 0xFF01 or (length < 2 and not alone and marker != 0xFFFF):
            break
        at += 1 if marker == 0xFFFF else 2 if alone else 2 + length  # 0xFF may be repeated as fill
    raise Undecodable("not a JPEG codestream: no frame header found")


def read_siz(frame: bytes) -> Codestream:
    """Read SIZ and COD (ISO/IEC 15444-1 A.5.1, A.6.1) of a JPEG 2000 codestream, bare or inside a JP2 file.

    Raises Undecodable, and TooLarge where a decoder would have to allocate far more than the picture.
    """
    start = codestream_start(frame)
    if len(frame) < start + 43:
        raise Undecodable("not a JPEG 2000 codestream: no SIZ marker found")
    x1, y1, x0, y0 = struct.unpack_from(">4L", frame, start + 8)
    tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">4L", frame, start + 24)
    if not (tile_x0 <= x0 < min(x1, tile_x0 + tile_x) and tile_y0 <= y0 < min(y1, tile_y0 + tile_y)):
        raise Undecodable("the JPEG 2000 codestream's tiles do not lie on its image")  # A.5.1
    samples, precision = struct.unpack_from(">HB", frame, start + 40)
    resolutions = decompositions(frame, start + 2, y1 - y0, x1 - x0)
    return Codestream(y1 - y0, x1 - x0, samples, (precision & 0x7F) + 1, precision >= 0x80, resolutions)


def ensure_end_marker(frame: bytes) -> None:
    """Raise Truncated unless the end marker stands behind the last scan of a JPEG or the last tile part of JPEG 2000.

    Decoders do not notice: they fill the missing part with grey. Whatever follows the marker, and however long it is,
    is fill.
    """
    if _END in frame.rstrip(b"\0")[-64:]:
        return
    start = _start_of_codestream(frame)
    if not (_scans_end(frame) if start < 0 else _tile_parts_end(frame, start)):
        raise Truncated("the codestream ends without its end marker")


def _start_of_codestream(frame: bytes) -> int:
    """The position of SOC and SIZ, with which JPEG 2000 begins; -1 if they are not there."""
    return frame.find(b"\xff\x4f\xff\x51", 0, 4096)


def _end_of_main_header(frame: bytes, at: int) -> int:
    """Return where the main header ends, from where SIZ begins."""
    while at + 12 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker == 0xFF90 or length < 2:  # SOT: the main header ends
            break
        at += 2 + length
    return at


def _tile_parts_end(frame: bytes, start: int) -> bool:
    """Walk from tile part to tile part by their lengths (ISO/IEC 15444-1 A.4.2) and look for EOC behind the last one.

    A length of 0 means "up to EOC". The packets in between cannot hold the marker (B.10.1).
    """
    at = _end_of_main_header(frame, start + 2)
    while frame[at : at + 2] == b"\xff\x90" and at + _SOT_LENGTH <= len(frame):
        length = struct.unpack_from(">L", frame, at + 6)[0]
        at += max(length, _SOT_LENGTH)
    return _END in frame[at:]


def _scans_end(frame: bytes) -> bool:
    """Walk from marker to marker (ISO/IEC 10918-1 B.1.1.2) and look for EOI, but not inside marker segments."""
    at = 2
    while marker := _MARKER.search(frame, at):
        if marker[0] == _END:
            return True
        at = marker.end() + int.from_bytes(frame[marker.end() : marker.end() + 2])
    return False
