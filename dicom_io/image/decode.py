"""Decode a DICOM file to the picture that a radiologist sees.

Stored values -> Modality LUT -> VOI LUT -> polarity (one table, see `luts`) -> padding and shutters set to black ->
turned so that the patient's left is on the viewer's right and the head up (see `orientation`).
Nothing is allocated before the sizes in the header and in the codestream have been checked.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.colour import luminance, read_native_luminance
from dicom_io.image.compression import codecs
from dicom_io.image.compression.codecs import FrameShape
from dicom_io.image.compression.codestream import Codestream, ensure_end_marker
from dicom_io.image.header import Header, read_header
from dicom_io.image.levels import Levels, StoredValues, levels_of_cells, levels_of_samples, with_padding
from dicom_io.image.luts import display_table
from dicom_io.image.no_picture import Constant, TooLarge, Undecodable, Unsupported
from dicom_io.image.orientation import Side, orientation
from dicom_io.image.pixel_data import read_frame, read_native
from dicom_io.image.shutter import Shutter, read_shutter, turned_shutter

Picture = NDArray[np.float32]

MAX_PIXELS = 100_000_000
_CELL = {8: np.uint8, 16: np.uint16}
_STRIPE = 48  # rows processed together, few enough to stay in the processor's cache


def decode(
    path: Path, max_pixels: int = MAX_PIXELS, size_hint: int | None = None, header: Header | None = None
) -> Picture:
    """Return the picture as float32 [rows, columns], 0 black to 1 white as a radiologist sees it, without NaN.

    `header`: the file's header, where the caller has read it already.

    With `size_hint` = N the picture may be smaller by a whole factor k, as long as both sides keep at least 2 N pixels.
    Each of its pixels is the mean of k x k displayed pixels; fewer than k rows and columns left over at the lower and
    right edge are cut off. JPEG 2000 is first decoded at a lower resolution of the codestream, to which the LUTs are
    then applied. The same file and hint always give the same picture, bit for bit.

    Pixel Padding and everything outside the shutters is 0, and does not count for the range of values that is
    displayed where there is no VOI LUT. Raises NoPicture with the reason (its subclasses: `no_picture`), and OSError
    if the file cannot be read.
    """
    header = header or read_header(path)
    shape, stored = _checked(header, max_pixels)
    levels = _read_levels(header, shape, stored, max_pixels, size_hint)
    rows, columns = levels.shape
    shutter = read_shutter(header, rows, columns)
    low, high = _range(levels, shutter, stored.padding)
    if low == high:
        raise Constant(f"every pixel has the stored value {low + stored.smallest}")
    table = display_table(header, stored, low, high)
    stated = orientation(header)
    if stated.side is Side.TURNED:
        levels, shutter = stated.turn(levels), turned_shutter(shutter, levels.shape, stated.turn)
    rows, columns = levels.shape
    return _render(levels, table, shutter, _factor(rows, columns, size_hint))


def read_stored_levels(header: Header, max_pixels: int = MAX_PIXELS) -> Levels:
    """Return the stored values less the smallest possible one, uint8 or uint16 [rows, columns]; luminance of colour.

    Nothing is scaled, averaged or hidden. Raises as `decode` does.
    """
    shape, stored = _checked(header, max_pixels)
    return _read_levels(header, shape, stored, max_pixels, size_hint=None)


def _checked(header: Header, max_pixels: int) -> tuple[FrameShape, StoredValues]:
    """Return the shape and the kind of stored values from the header. Raises Unsupported, TooLarge."""
    frames, samples = max(header.integer("NumberOfFrames", 1), 1), max(header.integer("SamplesPerPixel", 1), 1)
    if header.rows * header.columns * frames > max_pixels:
        raise TooLarge(f"{header.rows} x {header.columns} x {frames} pixels, the limit is {max_pixels}")
    if header.rows < 1 or header.columns < 1:
        raise Unsupported("no Rows or Columns: not an image")
    if frames > 1:
        raise Unsupported(f"{frames} frames: a radiograph has one, and which of these is meant is unknown")
    allocated = header.integer("BitsAllocated", 16)
    bits_stored = header.integer("BitsStored", allocated)
    high_bit = header.integer("HighBit", bits_stored - 1)
    stored = StoredValues(allocated, bits_stored, high_bit, header.integer("PixelRepresentation") == 1)
    if allocated not in (8, 16) or not 1 <= bits_stored <= allocated or not bits_stored - 1 <= high_bit < allocated:
        raise Unsupported(f"{bits_stored} of {allocated} bits, the highest {high_bit}: 1 to 16 of 8 or 16 are read")
    photometric = header.photometric_interpretation
    if (samples == 1) != (photometric in ("MONOCHROME1", "MONOCHROME2", "")) or samples not in (1, 3):
        raise Unsupported(f"{samples} samples a pixel in {photometric or 'no photometric interpretation'}")
    if samples == 3 and (bits_stored != 8 or stored.signed):
        raise Unsupported(f"colour of {bits_stored} bits, 8 without sign are read")
    if samples == 1:
        stored = with_padding(header, stored)
    return FrameShape(header.rows, header.columns, samples, allocated), stored


def _read_levels(
    header: Header, shape: FrameShape, stored: StoredValues, max_pixels: int, size_hint: int | None
) -> Levels:
    """Return the levels, uint8 or uint16 [rows, columns]: stored values less the smallest possible one."""
    if codecs.is_native(header.transfer_syntax_uid):
        if shape.samples == 3:
            return read_native_luminance(header, shape)
        cells = read_native(header, shape.rows * shape.columns, stored.bits_allocated)
        return levels_of_cells(cells.reshape(shape.rows, shape.columns), stored)
    samples, codestream = _decompressed(header, shape, stored, max_pixels, size_hint)
    if shape.samples == 3:
        return luminance(samples, header)
    if codestream is None:
        return levels_of_cells(np.array(samples, _CELL[stored.bits_allocated]), stored)
    return levels_of_samples(samples, stored, codestream.precision)


def _decompressed(
    header: Header, shape: FrameShape, stored: StoredValues, max_pixels: int, size_hint: int | None
) -> tuple[NDArray[np.generic], Codestream | None]:
    """Read the frame, check its codestream, decode it, and check the samples: [rows, columns] or [rows, columns, 3].

    RLE has no codestream, but pixel cells.
    """
    syntax = header.transfer_syntax_uid
    codecs.ensure_installed(syntax)
    frame = read_frame(header)
    codestream = codecs.read_codestream(syntax, frame)
    halvings = 0
    if codestream is not None:
        _check_codestream(codestream, shape, max_pixels)
        codecs.ensure_precision(syntax, codestream, stored.bits_stored)
        ensure_end_marker(frame)
        halvings = _halvings(codestream, shape, stored, size_hint)
    samples = codecs.decode_frame(syntax, frame, shape, halvings)
    _check_samples(samples, shape, halvings)
    return samples, codestream


def _check_codestream(codestream: Codestream, shape: FrameShape, max_pixels: int) -> None:
    """Raise TooLarge or Undecodable, before anything is allocated, if the codestream is not of the header's size."""
    if codestream.rows * codestream.columns > max_pixels:
        raise TooLarge(f"a codestream of {codestream.rows} x {codestream.columns}, the limit is {max_pixels}")
    found = (codestream.rows, codestream.columns, codestream.samples)
    expected = (shape.rows, shape.columns, shape.samples)
    if found != expected:
        raise Undecodable(f"a codestream of {found}, the header says {expected}")


def _halvings(codestream: Codestream, shape: FrameShape, stored: StoredValues, size_hint: int | None) -> int:
    """How many times the JPEG 2000 decoder may halve both sides without making the picture too small for the hint.

    None with padding or signed values: halving averages neighbours, and both are recognised only in whole values.
    """
    if shape.samples != 1 or stored.signed or codestream.signed or stored.padding:
        return 0
    return min(codestream.resolutions, _factor(shape.rows, shape.columns, size_hint).bit_length() - 1)


def _check_samples(samples: NDArray[np.generic], shape: FrameShape, halvings: int) -> None:
    """Raise Undecodable unless the decoder gave the frame in full or at the resolution it was asked for."""
    expected = [(-(-shape.rows >> n), -(-shape.columns >> n)) for n in {0, halvings}]
    if samples.shape[:2] not in expected or samples.shape[2:] not in ((), (shape.samples,)):
        raise Undecodable(f"the decoder gave {samples.shape}, expected {expected[0]} of {shape.samples} samples")


def _factor(rows: int, columns: int, size_hint: int | None) -> int:
    """The whole factor by which both sides can shrink and still have twice the hint; 1 without a hint."""
    return max(min(rows, columns) // (2 * size_hint), 1) if size_hint else 1


def _range(levels: Levels, shutter: Shutter | None, padding: tuple[int, int] | None) -> tuple[int, int]:
    """Return the smallest and the largest level that is visible and not padding. Raises Constant if all is padding."""
    visible = levels if shutter is None else levels[shutter.rows, shutter.columns]
    if shutter is not None and shutter.mask is not None:
        visible = visible[shutter.mask[shutter.rows, shutter.columns]]
    if padding:
        visible = visible[(visible < padding[0]) | (visible > padding[1])]
        if not visible.size:
            raise Constant("nothing but pixel padding")
    return int(visible.min()), int(visible.max())


def _render(levels: Levels, table: Picture, shutter: Shutter | None, factor: int) -> Picture:
    """Look up each level in the table, stripe by stripe, and average each block of factor x factor pixels."""
    rows, columns = levels.shape[0] // factor, levels.shape[1] // factor
    picture = np.empty((rows, columns), np.float32)
    height = max(_STRIPE // factor, 1)
    index = np.empty((height * factor, levels.shape[1]), np.intp)
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        source = slice(top * factor, bottom * factor)
        here = index[: source.stop - source.start]
        np.copyto(here, levels[source])
        target = picture[top:bottom] if factor == 1 else np.empty(here.shape, np.float32)
        np.take(table, here, out=target, mode="clip")
        if shutter is not None:
            _blacken(target, shutter, source)
        if factor > 1:
            _mean(target, factor, picture[top:bottom])
    return picture


def _mean(pixels: Picture, factor: int, out: Picture) -> None:
    """Write the mean of each factor x factor block to `out`; rows are added first because they are contiguous."""
    width = out.shape[1] * factor
    across = pixels[0::factor].copy()
    for offset in range(1, factor):
        across += pixels[offset::factor]
    np.copyto(out, across[:, 0:width:factor])
    for offset in range(1, factor):
        out += across[:, offset:width:factor]
    out *= np.float32(1.0 / (factor * factor))


def _blacken(pixels: Picture, shutter: Shutter, source: slice) -> None:
    """Set to 0 what the shutter hides; `pixels` are the rows `source` of the image."""
    pixels[: max(shutter.rows.start - source.start, 0)] = 0
    pixels[max(shutter.rows.stop - source.start, 0) :] = 0
    pixels[:, : shutter.columns.start] = 0
    pixels[:, shutter.columns.stop :] = 0
    if shutter.mask is not None:
        pixels[~shutter.mask[source]] = 0
