"""Convert pixel cells or a decoder's samples to levels: stored values less the smallest possible one, so from 0 up.

Padding that Bits Stored cannot hold gets a level of its own, one above all others.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.header import Header
from dicom_io.image.no_picture import Undecodable

Levels = NDArray[Any]  # uint8 or uint16


@dataclass(frozen=True)
class StoredValues:
    """How stored values lie in pixel cells (PS3.5 8.1.1), and which of them are padding.

    `padding`: the first and the last level that is padding. `padding_cells`: the first and the last whole pixel cell
    that is padding, where Bits Stored can hold none of them.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None = None
    padding_cells: tuple[int, int] | None = None

    @property
    def levels(self) -> int:
        return 1 << self.bits_stored

    @property
    def smallest(self) -> int:
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def sign_bit(self) -> int:
        return 1 << (self.bits_stored - 1) if self.signed else 0

    def held(self, numbers: list[int]) -> tuple[int, int] | None:
        """The first and last level between the smallest and largest number; None if Bits Stored holds none of them."""
        first, last = max(min(numbers) - self.smallest, 0), min(max(numbers) - self.smallest, self.levels - 1)
        return (first, last) if first <= last else None


def with_padding(header: Header, stored: StoredValues) -> StoredValues:
    """Add Pixel Padding Value, and Pixel Padding Range Limit where there is one (PS3.3 C.7.5.1.1.2).

    Of a range, the part that Bits Stored can hold is padding. Where that is nothing, whole cells are compared with the
    padding as it stands, so that 65535 in an image of 12 bits is not 4095. A range of all stored values is ignored.
    """
    ends = [number for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") for number in header.numbers(name)[:1]]
    if not header.numbers("PixelPaddingValue") or not np.isfinite(ends).all():
        return stored
    cells = [int(end) & 0xFFFF for end in ends]
    signed = [(cell ^ 0x8000) - 0x8000 for cell in cells]
    held = [span for span in (stored.held(signed), stored.held(cells)) if span]
    if not held:
        return replace(stored, padding=(stored.levels, stored.levels), padding_cells=(min(cells), max(cells)))
    # The VR, US or SS, does not always fit the pixels: unless it is SS, the sign is the one that hides fewer values.
    padding = held[0] if min(ends) < 0 else min(held, key=lambda span: span[1] - span[0])
    return stored if padding == (0, stored.levels - 1) else replace(stored, padding=padding)


def levels_of_cells(cells: Levels, stored: StoredValues) -> Levels:
    """Convert pixel cells, in place.

    Bits outside Bits Stored are dropped: older images keep overlays there (PS3.5 8.1.1).
    """
    padding = _padding_cells(cells, stored)
    used = _bits_used(cells)
    shift = _lowest_bit(cells, used, stored)
    if shift:
        cells >>= shift
    if used >> shift >= stored.levels:
        cells &= stored.levels - 1
    if stored.signed:
        cells ^= stored.sign_bit
    return _marked(cells, padding, stored)


def levels_of_samples(samples: NDArray[Any], stored: StoredValues, precision: int) -> Levels:
    """Convert a decoder's samples; `precision` is the codestream's number of bits.

    If the codestream has a sign and the header none, or the reverse, the samples are read as two's complement. Values
    beyond Bits Stored, where a lossy codec overshot, are clipped: dropping the high bits would turn white black. Raises
    Undecodable for a dtype other than integers of 8 or 16 bits.
    """
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise Undecodable(f"the decoder gave {samples.dtype}, integers of 8 or 16 bits were expected")
    low = replace(stored, bits_allocated=16, high_bit=stored.bits_stored - 1)  # High Bit says nothing of codestreams
    padding = _padding_cells(samples, stored)
    if samples.dtype.kind == "i" and not stored.signed and precision <= stored.bits_stored:
        return samples.astype(np.uint16) & np.uint16((1 << precision) - 1)
    if samples.dtype.kind == "i":
        levels = np.clip(samples.astype(np.int32) - stored.smallest, 0, stored.levels - 1).astype(np.uint16)
    elif stored.signed:
        return levels_of_cells(samples.astype(np.uint16), low)
    else:
        shifted = samples >> _lowest_bit(samples, _bits_used(samples), low)
        levels = np.minimum(shifted, samples.dtype.type(min(stored.levels - 1, np.iinfo(samples.dtype).max)))
    return _marked(levels, padding, stored)


def _bits_used(cells: Levels) -> int:
    """The bits that any cell has set."""
    return int(np.bitwise_or.reduce(cells, axis=None))


def _lowest_bit(cells: Levels, used: int, stored: StoredValues) -> int:
    """The bit of a cell at which the value begins: High Bit says so, unless the cells contradict it.

    The values lie in the low bits if High Bit says otherwise but every cell is a value of Bits Stored and bits are used
    that High Bit excludes. They lie in the high bits if High Bit says otherwise but some cell is no value of Bits
    Stored and the low bits are never used.
    """
    said = stored.high_bit + 1 - stored.bits_stored
    spare = stored.bits_allocated - stored.bits_stored
    if used < stored.levels and not said:
        return 0
    if said and used & ((1 << said) - 1) and _lie_low(cells, used, stored):
        return 0
    if said < spare and not used & ((1 << spare) - 1) and not _lie_low(cells, used, stored):
        return spare
    return said


def _lie_low(cells: Levels, used: int, stored: StoredValues) -> bool:
    """Tell whether each whole cell is a value of Bits Stored, with the sign extended to the whole cell or not."""
    if used < stored.levels or not stored.signed:
        return used < stored.levels
    numbers = cells.view(f"i{cells.dtype.itemsize}")
    return bool(numbers.min() >= stored.smallest and numbers.max() < -stored.smallest)


def _padding_cells(cells: Levels, stored: StoredValues) -> NDArray[np.bool_] | None:
    """Where the cells are padding that Bits Stored cannot hold; None if nowhere."""
    if not stored.padding_cells or cells.dtype.itemsize < 2:
        return None
    whole = cells.view(np.uint16)
    padding: NDArray[np.bool_] = (whole >= stored.padding_cells[0]) & (whole <= stored.padding_cells[1])
    return padding if padding.any() else None


def _marked(levels: Levels, padding: NDArray[np.bool_] | None, stored: StoredValues) -> Levels:
    """Give padding that Bits Stored cannot hold the level above all others."""
    if padding is not None:
        levels[padding] = stored.levels
    return levels
