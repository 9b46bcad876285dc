"""Frames as devices end them: fill behind the end marker, no sequence delimiter, fragments of odd length."""

import io
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from dicom_io.image.compression.codestream import ensure_end_marker
from dicom_io.image.decode import decode
from dicom_io.image.no_picture import NoPicture, Truncated
from dicom_io.phantom.studies import compressed, draw_thorax
from tests.dicom_io.test_decode import LOSSLESS, LOSSY, write_compressed

CHEST = draw_thorax(3, "effusion", 301, 265)
CODESTREAMS = [*LOSSLESS[1:], *LOSSY]  # RLE has no end marker
TAILS = [
    b"\xff" * 300,
    b"\0" * 5000,
    b" " * 301,
    b"\xde\xad\xbe\xef" * 100,
    b"\xff\xd8\xff" * 99,
    bytes(range(256)) * 4,
]
ITEM_END, TRAILING_PADDING = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0ab"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def fragment(data: bytes, length: int | None = None) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(data) if length is None else length) + data


def encapsulated(directory: Path, syntax: str, pixel_data: bytes) -> Path:
    """A file of CHEST whose Pixel Data, after its empty offset table, is these bytes."""
    path = write_compressed(directory, CHEST, syntax)
    whole = path.read_bytes()
    start = whole.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    path.write_bytes(whole[:start] + fragment(b"") + pixel_data)
    return path


@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: f"{len(tail)} bytes {tail[:2].hex()}")
@pytest.mark.parametrize("syntax", CODESTREAMS, ids=lambda s: uid.UID(s).keyword)
def test_a_long_tail_changes_nothing(tmp_path: Path, syntax: str, tail: bytes) -> None:
    """Whatever fills the frame behind its end marker, the picture is the same, at a lower resolution too."""
    frame = compressed(CHEST, syntax)
    for hint in (None, 32):
        plain = decode(encapsulated(tmp_path, syntax, fragment(frame) + END), size_hint=hint)
        assert np.array_equal(
            decode(encapsulated(tmp_path, syntax, fragment(frame + tail) + END), size_hint=hint), plain
        )


@pytest.mark.parametrize("tail", [*TAILS[:4], b""], ids=lambda tail: f"{len(tail)} bytes {tail[:2].hex()}")
@pytest.mark.parametrize("part", [0.4, 0.8, 0.99])
@pytest.mark.parametrize("syntax", CODESTREAMS, ids=lambda s: uid.UID(s).keyword)
def test_a_tail_does_not_hide_what_is_missing(syntax: str, part: float, tail: bytes) -> None:
    """A codestream that was cut is refused, whatever fill follows."""
    frame = compressed(CHEST, syntax)
    ensure_end_marker(frame + tail)
    with pytest.raises(Truncated, match="end marker"):
        ensure_end_marker(frame[: int(len(frame) * part)] + tail)


def test_an_end_marker_in_a_header_is_none() -> None:
    """The thumbnail's or a comment's bytes FFD9 do not end a codestream."""
    comment = b"\xff\xfe\x00\x0aab\xff\xd9cdef"
    for syntax in (uid.JPEGLosslessSV1, uid.JPEGExtended12Bit, uid.JPEGLSLossless):
        frame = compressed(CHEST, syntax)
        frame = frame[:2] + comment + frame[2:]
        ensure_end_marker(frame + b"\xff" * 300)
        with pytest.raises(Truncated):
            ensure_end_marker(frame[: len(frame) // 2] + b"\xff" * 300)
    frame = compressed(CHEST, uid.JPEG2000Lossless)
    at = frame.index(b"\xff\x90\x00\x0a")  # the first tile part
    frame = frame[:at] + b"\xff\x64\x00\x08\x00\x01\xff\xd9ab" + frame[at:]
    ensure_end_marker(frame + b"\xff" * 300)
    with pytest.raises(Truncated):
        ensure_end_marker(frame[: len(frame) // 2] + b"\xff" * 300)


def test_tiles_and_a_tile_part_of_unknown_length() -> None:
    """Several tile parts are walked through, and one whose length is 0 reaches to the end marker."""
    file = io.BytesIO()
    Image.fromarray((CHEST >> 4).astype(np.uint8)).save(file, "JPEG2000", tile_size=(100, 100), no_jp2=True)
    frame = file.getvalue()
    assert frame.count(b"\xff\x90\x00\x0a") > 3
    ensure_end_marker(frame + b"\xff" * 300)
    last = frame.rindex(b"\xff\x90\x00\x0a")
    for cut in (last, last + 40, frame.index(b"\xff\x90\x00\x0a") + 30):
        with pytest.raises(Truncated):
            ensure_end_marker(frame[:cut] + b"\xff" * 300)
    unknown = frame[: last + 6] + b"\0\0\0\0" + frame[last + 10 :]
    ensure_end_marker(unknown + b"\xff" * 300)
    with pytest.raises(Truncated):
        ensure_end_marker(unknown[:-2] + b"\xff" * 300)


@pytest.mark.parametrize("end", [b"", END[:4], END[:7], b"\0", ITEM_END, TRAILING_PADDING], ids=bytes.hex)
@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda s: uid.UID(s).keyword)
def test_a_missing_sequence_delimiter(tmp_path: Path, syntax: str, end: bytes) -> None:
    """Pixel Data that reaches to the end of the file, or ends otherwise than it should, is read."""
    frame = compressed(CHEST, syntax)
    frame += b"\0" * (len(frame) % 2)
    expected = decode(encapsulated(tmp_path, syntax, fragment(frame) + END))
    assert np.array_equal(decode(encapsulated(tmp_path, syntax, fragment(frame) + end)), expected)
    half = len(frame) // 4 * 2
    with pytest.raises(NoPicture, match=r"end marker|RLE|fragment"):
        decode(encapsulated(tmp_path, syntax, fragment(frame[:half]) + end))


@pytest.mark.parametrize("end", [b"", END], ids=["no delimiter", "delimiter"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda s: uid.UID(s).keyword)
def test_fragments_of_odd_length(tmp_path: Path, syntax: str, padded: bool, end: bytes) -> None:
    """Fragments of odd length are joined as they are, also where a byte follows that their length does not count."""
    frame = compressed(CHEST, syntax)
    cuts = [0, len(frame) // 3 | 1, (len(frame) // 2) & ~1, len(frame)]
    parts = [frame[a:b] for a, b in pairwise(cuts)]
    assert any(len(part) % 2 for part in parts)
    data = b"".join(fragment(part) + b"\0" * (len(part) % 2 if padded else 0) for part in parts)
    expected = decode(write_compressed(tmp_path, CHEST, syntax))
    assert np.array_equal(decode(encapsulated(tmp_path, syntax, data + end)), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_padding_behind_rle(tmp_path: Path, count: int) -> None:
    """RLE has no end marker: what follows its last segment is left out."""
    frame = compressed(CHEST, uid.RLELossless)
    expected = decode(write_compressed(tmp_path, CHEST, uid.RLELossless))
    assert np.array_equal(
        decode(encapsulated(tmp_path, uid.RLELossless, fragment(frame + b"\0" * count) + END)), expected
    )
