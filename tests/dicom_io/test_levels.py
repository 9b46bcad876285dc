"""dicom_io.image.levels: which bits of a cell or a sample are the value, which cells are padding, and the sign."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import config, uid
from pydicom.dataelem import DataElement
from pydicom.pixels.encoders.base import RLELosslessEncoder

from dicom_io.image.decode import decode
from dicom_io.image.no_picture import Constant
from dicom_io.phantom.studies import draw_thorax
from tests.dicom_io.test_decode import write

CHEST = draw_thorax(3, "effusion", 301, 265)  # 12 bits
SATURATED = np.where(CHEST > 2500, 4095, CHEST).astype(np.uint16)
WINDOW = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
Pixels = NDArray[Any]


def saved(directory: Path, pixels: Pixels, padding: tuple[str, int, int | None] | None = None, **elements: Any) -> Path:
    """A file with Pixel Padding Value and Range Limit of this VR, whatever Pixel Representation says."""
    path = write(directory / "p.dcm", pixels, **({**WINDOW} | elements))
    ds = pydicom.dcmread(path)
    vr, value, limit = padding or ("US", None, None)
    for keyword, number in (("PixelPaddingValue", value), ("PixelPaddingRangeLimit", limit)):
        if number is not None:
            ds.add(DataElement(keyword, vr, number, validation_mode=config.IGNORE))
    ds.save_as(path)
    return path


def rle(cells: Pixels) -> bytes:
    rows, columns = cells.shape
    return RLELosslessEncoder.encode(cells.astype("<u2").tobytes(), rows=rows, columns=columns, samples_per_pixel=1,
        bits_allocated=16, bits_stored=16, pixel_representation=0, number_of_frames=1,
        photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom")  # fmt: skip


# --- padding


OUTSIDE = [
    ("US", 0xFFFF, None), ("SS", -2000, None), ("SS", -1, None), ("US", 4096, None), ("US", 0xF000, 0xFFFF),
    ("SS", -2000, -1), ("SS", -32768, -5), ("US", 0, 0xFFFF),
]  # fmt: skip


@pytest.mark.parametrize("padding", OUTSIDE, ids=str)
def test_padding_that_the_pixels_cannot_have_hides_none_of_them(
    tmp_path: Path, padding: tuple[str, int, int | None]
) -> None:
    """Padding outside Bits Stored, as an unsigned or a negative number or a range, changes no pixel of 12 bits."""
    expected = decode(saved(tmp_path, SATURATED))
    found = decode(saved(tmp_path, SATURATED, padding))
    assert np.array_equal(found, np.where(SATURATED == 0, 0, expected) if padding[1] == 0 else expected)


@pytest.mark.parametrize("padding", OUTSIDE[:-1], ids=str)
def test_whole_cells_are_compared_with_padding_that_the_pixels_cannot_have(
    tmp_path: Path, padding: tuple[str, int, int | None]
) -> None:
    """Cells that hold this very padding are black, and white pixels stay white."""
    cells = SATURATED.copy()
    cells[:40, :100], cells[40:50] = padding[1] & 0xFFFF, (padding[2] or padding[1]) & 0xFFFF
    expected = decode(saved(tmp_path, SATURATED)).copy()
    expected[:40, :100] = expected[40:50] = 0
    assert np.array_equal(decode(saved(tmp_path, cells, padding)), expected)
    encapsulated = {"Rows": 301, "Columns": 265, "BitsAllocated": 16}
    for syntax, frame in (
        (uid.RLELossless, rle(cells)),
        (uid.JPEG2000Lossless, imagecodecs.jpeg2k_encode(cells, level=0, reversible=True, codecformat="j2k")),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode(cells)),
    ):
        path = saved(tmp_path, bytes(frame), padding, syntax=syntax, **encapsulated)  # type: ignore[arg-type]
        assert np.array_equal(decode(path), expected), uid.UID(syntax).name
        small, reduced = decode(path, size_hint=32), decode(saved(tmp_path, cells, padding), size_hint=32)
        assert np.array_equal(small, reduced), uid.UID(syntax).name


@pytest.mark.parametrize(("padding", "first", "last"), [
    (("US", 4000, 0xFFFF), 4000, 4095), (("US", 0xFFFF, 4000), 4000, 4095), (("SS", -2000, 0), 0, 0),
    (("SS", 300, -2000), 0, 300), (("US", 0, None), 0, 0), (("US", 0, 300), 0, 300), (("US", 4095, None), 4095, 4095),
], ids=str)  # fmt: skip
def test_the_part_of_a_range_that_the_pixels_can_have_is_padding(
    tmp_path: Path, padding: tuple[str, int, int | None], first: int, last: int
) -> None:
    """Of a range beyond Bits Stored, the values inside are padding; so is 0."""
    within = (first <= SATURATED) & (last >= SATURATED)
    expected = np.where(within, 0, decode(saved(tmp_path, SATURATED)))
    assert np.array_equal(decode(saved(tmp_path, SATURATED, padding)), expected)


@pytest.mark.parametrize(("bits", "padding"), [
    (12, ("SS", -2000, None)), (12, ("US", 65536 - 2000, None)), (16, ("SS", -2000, None)),
    (16, ("US", 65536 - 2000, None)), (12, ("SS", -2000, -1990)), (12, ("US", 65536 - 1990, 65536 - 2000)),
], ids=str)  # fmt: skip
def test_signed_padding_is_read_in_either_vr(tmp_path: Path, bits: int, padding: tuple[str, int, int | None]) -> None:
    """Padding of signed pixels is the same number written as SS or as US."""
    values = CHEST.astype(np.int16) // 2 - 900
    clean = saved(tmp_path, values, PixelRepresentation=1, BitsStored=bits, WindowCenter=0, WindowWidth=4096)
    expected = decode(clean).copy()
    values[:30], expected[:30] = -2000, 0
    path = saved(tmp_path, values, padding, PixelRepresentation=1, BitsStored=bits, WindowCenter=0, WindowWidth=4096)
    assert np.array_equal(decode(path), expected)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_padding_of_zero_is_padding(tmp_path: Path, syntax: str) -> None:
    """Padding of 0, whose two bytes are NUL, makes the collimated border of a MONOCHROME1 image black, not white."""
    pixels = CHEST + np.uint16(1)
    pixels[:30] = 0
    file = write(tmp_path / "p.dcm", pixels, syntax, BitsStored=13, PhotometricInterpretation="MONOCHROME1",
                 PixelPaddingValue=0)  # fmt: skip
    picture = decode(file)
    assert not picture[:30].any()
    inside = pixels[30:].astype(float)
    assert np.allclose(picture[30:], 1 - (inside - inside.min()) / np.ptp(inside), atol=1e-6)


def test_padding_of_zero_changes_no_ordinary_image(tmp_path: Path) -> None:
    """In a MONOCHROME2 image 0 is black already."""
    for elements in ({}, {"WindowCenter": 1500, "WindowWidth": 2000}, {"VOILUTFunction": "LINEAR_EXACT"}):
        pixels = np.where(CHEST < 300, 0, CHEST).astype(np.uint16)
        plain = decode(saved(tmp_path, pixels, **elements))
        assert np.abs(decode(saved(tmp_path, pixels, ("US", 0, None), **elements)) - plain).max() < 2e-3


@pytest.mark.parametrize("padding", [("US", 0, 4095), ("US", 4096, 0), ("SS", -5, 4095), ("SS", -2000, 32767)], ids=str)
def test_a_range_of_every_value_is_no_padding(tmp_path: Path, padding: tuple[str, int, int | None]) -> None:
    """A range that leaves no stored value over is ignored."""
    assert np.array_equal(decode(saved(tmp_path, SATURATED, padding)), decode(saved(tmp_path, SATURATED)))


def test_nothing_but_padding_is_refused(tmp_path: Path) -> None:
    """An image of padding alone, inside Bits Stored or outside, gives no picture."""
    for value in (7, 0xFFFF):
        with pytest.raises(Constant, match="padding"):
            decode(saved(tmp_path, np.full((9, 9), value, np.uint16), ("US", value, None)))


# --- High Bit


@pytest.mark.parametrize("high_bit", [12, 13, 15])
def test_values_that_lie_low_are_read_low(tmp_path: Path, high_bit: int) -> None:
    """Where High Bit is above the values, and no cell exceeds Bits Stored, the values count as they lie."""
    expected = decode(saved(tmp_path, CHEST))
    assert np.array_equal(decode(saved(tmp_path, CHEST, HighBit=high_bit)), expected)
    encapsulated = {"Rows": 301, "Columns": 265, "BitsAllocated": 16, "HighBit": high_bit}
    assert np.array_equal(decode(saved(tmp_path, rle(CHEST), syntax=uid.RLELossless, **encapsulated)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("extended", [False, True])
def test_signed_values_that_lie_low_are_read_low(tmp_path: Path, extended: bool) -> None:
    """The same for signed values, whether the sign fills the cell or not."""
    values = CHEST.astype(np.int16) // 2 - 900
    signed = {"PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 4096}
    expected = decode(saved(tmp_path, values, **signed))
    cells = values if extended else (values & 0xFFF)
    assert np.array_equal(decode(saved(tmp_path, cells, HighBit=15, **signed)), expected)


@pytest.mark.parametrize("high_bit", [11, 13, 15])
def test_values_that_lie_high_are_read_high(tmp_path: Path, high_bit: int) -> None:
    """Where the low bits of every cell are empty and the high bits are used, the values lie there."""
    expected = decode(saved(tmp_path, CHEST))
    assert np.array_equal(decode(saved(tmp_path, CHEST << 4, HighBit=high_bit)), expected)
    stream = imagecodecs.jpegls_encode(CHEST << 4)
    encapsulated = {"Rows": 301, "Columns": 265, "BitsAllocated": 16, "HighBit": high_bit}
    path = saved(tmp_path, bytes(stream), syntax=uid.JPEGLSLossless, **encapsulated)  # type: ignore[arg-type]
    assert np.array_equal(decode(path), expected)


def test_a_dark_image_is_not_taken_for_one_that_lies_low(tmp_path: Path) -> None:
    """Cells whose low bits are empty, as High Bit says, are shifted however small they are."""
    dark = (CHEST >> 5).astype(np.uint16)
    expected = decode(saved(tmp_path, dark, WindowCenter=64, WindowWidth=128))
    assert np.array_equal(decode(saved(tmp_path, dark << 4, HighBit=15, WindowCenter=64, WindowWidth=128)), expected)


# --- the sign of codestreams

WIDE = (CHEST.astype(np.uint32) * 16).astype(np.uint16)
ENCODERS = {
    uid.JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k"),
    uid.JPEG2000: lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="jp2"),
    uid.HTJ2KLossless: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    uid.JPEGLSLossless: lambda a: imagecodecs.jpegls_encode(a.view(np.uint16)),
    uid.JPEGLosslessSV1: lambda a: imagecodecs.jpeg8_encode(
        a.view(np.uint16), lossless=True, predictor=1, bitspersample=16
    ),
}
SIGNED = [uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless]  # the codestreams that can have a sign


def compressed_as(directory: Path, syntax: str, samples: Pixels, **elements: Any) -> Path:
    rows, columns = samples.shape
    header = {"Rows": rows, "Columns": columns, "BitsAllocated": 16, **elements}
    return write(directory / "c.dcm", bytes(ENCODERS[syntax](samples)), syntax, **header)


@pytest.mark.parametrize("hint", [None, 32])
@pytest.mark.parametrize("syntax", SIGNED, ids=lambda s: uid.UID(s).keyword)
def test_a_signed_codestream_under_an_unsigned_header(tmp_path: Path, syntax: str, hint: int | None) -> None:
    """Unsigned pixels that were compressed as signed ones are read back as two's complement."""
    window = {"BitsStored": 16, "WindowCenter": 32768, "WindowWidth": 65536}
    expected = decode(write(tmp_path / "n.dcm", WIDE, **window), size_hint=hint)
    found = decode(compressed_as(tmp_path, syntax, WIDE.view(np.int16), **window), size_hint=hint)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("hint", [None, 32])
@pytest.mark.parametrize("syntax", SIGNED, ids=lambda s: uid.UID(s).keyword)
def test_a_signed_codestream_with_bits_to_spare(tmp_path: Path, syntax: str, hint: int | None) -> None:
    """Values of 12 bits without sign that lie in a signed codestream of 16 bits are what they are."""
    expected = decode(write(tmp_path / "n.dcm", CHEST, **WINDOW), size_hint=hint)
    assert np.array_equal(
        decode(compressed_as(tmp_path, syntax, CHEST.view(np.int16), **WINDOW), size_hint=hint), expected
    )


@pytest.mark.parametrize("hint", [None, 32])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("codestream_signed", [False, True])
@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda s: uid.UID(s).keyword)
def test_signed_pixels_in_any_codestream(
    tmp_path: Path, syntax: str, codestream_signed: bool, bits: int, hint: int | None
) -> None:
    """Signed pixels are read from signed codestreams and from unsigned ones, where they are two's complement."""
    values = CHEST.astype(np.int16) // 2 - 900
    header = {"BitsStored": bits, "PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 4096}
    expected = decode(write(tmp_path / "n.dcm", values, **header), size_hint=hint)
    samples = values if codestream_signed else (values.view(np.uint16) & np.uint16((1 << bits) - 1))
    assert np.array_equal(decode(compressed_as(tmp_path, syntax, samples, **header), size_hint=hint), expected)


def test_overshoot_in_a_signed_codestream_does_not_wrap(tmp_path: Path) -> None:
    """Small negative numbers where a lossy codec overshot black stay black, in a codestream with bits to spare."""
    samples = CHEST.astype(np.int16)
    samples[:20] = -3
    picture = decode(compressed_as(tmp_path, uid.JPEG2000Lossless, samples, **WINDOW))
    assert not picture[:20].any()
