"""Map stored values to what a radiologist sees: Modality LUT, VOI LUT and polarity in one table.

A radiograph has at most 65536 different stored values. The whole grayscale pipeline (PS3.4 N.2) is therefore computed
once for each value, in float64, and applied to the pixels by one look-up. The table's index is a *level*: the stored
value less the smallest one that Bits Stored and Pixel Representation allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dicom_io.elements import element_numbers
from dicom_io.image.header import Header
from dicom_io.image.levels import StoredValues
from dicom_io.image.no_picture import Constant

Floats = NDArray[np.float64]

FEWEST_SHADES = 1 / 255  # a picture whose whole range is smaller than one of 256 shades shows nothing


@dataclass(frozen=True)
class LookUpTable:
    """A LUT (PS3.3 C.11.1.1.1). `first`: the input value that the first entry is for; `bits`: the bits of an entry."""

    first: int
    entries: Floats
    bits: int

    def apply(self, values: Floats) -> Floats:
        """Map each value; values below the first input get the first entry, values above the last get the last one."""
        index = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1)
        mapped: Floats = self.entries[index.astype(np.intp)]
        return mapped

    @property
    def white(self) -> float:
        """The entry that is white: 2**bits - 1, but the largest one if that takes fewer or more bits than stated.

        By PS3.3 C.11.2.1.1 entries up to 4095 are dark where 16 bits are stated; devices that send this mean white.
        """
        largest = int(self.entries.max())
        return max((1 << self.bits) - 1 if largest.bit_length() == self.bits else largest, 1)


def display_table(header: Header, stored: StoredValues, low: int, high: int) -> NDArray[np.float32]:
    """Return float32 [levels + 1]: for each level its brightness, 0 black to 1 white; padding is black.

    `low` and `high` are the smallest and largest level in the image. The order is that of PS3.4 N.2: Modality LUT, then
    the first VOI LUT or window that shows anything, then MONOCHROME1 is inverted. It is inverted only once:
    Presentation LUT Shape repeats the polarity and is ignored. Without a usable VOI LUT, 8-bit values 0 to 255 become
    0 to 1, because such an image is ready for display, like a PNG file; otherwise the values between `low` and `high`
    are stretched to 0 to 1. Raises Constant if the header's LUTs show nothing of this image.
    """
    values, seen = np.arange(stored.levels, dtype=np.float64) + stored.smallest, slice(low, high + 1)
    shown = None
    if header.photometric_interpretation in ("MONOCHROME1", "MONOCHROME2", ""):  # these LUTs do not apply to colour
        values = modality_values(header, values, seen)
        shown = voi_values(header, values, seen)
    if shown is None:
        held = values[seen]
        smallest, largest = (0.0, 255.0) if _is_display(values) else (held.min(), held.max())
        shown = np.clip((values - smallest) / max(largest - smallest, np.finfo(np.float64).tiny), 0.0, 1.0)
    if np.ptp(shown[seen]) < FEWEST_SHADES:
        raise Constant("nothing can be told apart in the window that the header gives")
    if header.photometric_interpretation == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the smallest value is white
        shown = 1.0 - shown
    table = np.append(shown, 0.0).astype(np.float32)
    if stored.padding:
        table[stored.padding[0] : stored.padding[1] + 1] = 0
    return table


def _is_display(values: Floats) -> bool:
    """Tell whether these are the 256 unsigned values of 8 bits, unchanged by a Modality LUT."""
    return len(values) == 256 and values[0] == 0 and values[-1] == 255


def modality_values(header: Header, values: Floats, seen: slice) -> Floats:
    """Apply the Modality LUT, else Rescale Slope and Intercept, else return the values unchanged (PS3.3 C.11.1).

    `seen`: where in `values` those of the image are. A table that makes all of these equal is not used.
    """
    for item in header.items("ModalityLUTSequence"):
        table = _table(item, values, seen)
        mapped = None if table is None else table.apply(values)
        if mapped is not None and np.ptp(mapped[seen]) > 0:
            return mapped
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if slope and intercept and slope[0] != 0 and np.isfinite([slope[0], intercept[0]]).all():
        return values * slope[0] + intercept[0]
    return values


def voi_values(header: Header, values: Floats, seen: slice) -> Floats | None:
    """Apply a VOI LUT, else a window (PS3.3 C.11.2): 0..1; None if the header has neither.

    They are alternatives: the first counts that shows anything of the image, or the first if none does.
    `seen`: where in `values` those of the image are.
    """
    first = None
    for shown in _alternatives(header, values, seen):
        if np.ptp(shown[seen]) >= FEWEST_SHADES:
            return shown
        first = shown if first is None else first
    return first


def _alternatives(header: Header, values: Floats, seen: slice) -> Iterator[Floats]:
    for item in header.items("VOILUTSequence"):
        table = _table(item, values, seen)
        if table is not None:
            yield table.apply(values) / table.white
    function = header.text("VOILUTFunction").upper() or "LINEAR"
    for center, width in zip(header.numbers("WindowCenter"), header.numbers("WindowWidth"), strict=False):
        if np.isfinite([center, width]).all() and width >= (1 if function == "LINEAR" else 1e-6):
            yield window(values, center, width, function)


def window(values: Floats, center: float, width: float, function: str) -> Floats:
    """Map values to 0..1 by VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3); an unknown function counts as LINEAR."""
    if function == "SIGMOID":
        shown: Floats = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
        return shown
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1.0
    if width == 0:  # LINEAR with Window Width 1 is a threshold
        return (values > center).astype(np.float64)
    shown = np.clip((values - center) / width + 0.5, 0.0, 1.0)
    return shown


def _table(item: Dataset, values: Floats, seen: slice) -> LookUpTable | None:
    """Read a LUT item; None if it cannot be used. `values` are all possible inputs, `seen` says where the image's are.

    The first input is signed where inputs can be negative, whatever its VR is. A negative one for inputs that cannot be
    negative is unsigned, if only so the table meets the image.
    """
    descriptor = element_numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not np.isfinite(descriptor).all():
        return None
    number = int(descriptor[0]) & 0xFFFF or 1 << 16  # PS3.3 C.11.1.1.1: 0 stands for 65536
    first, bits = int(descriptor[1]), int(descriptor[2])
    entries = _entries(item, number, bits)
    if not len(entries) or not np.isfinite(entries).all():
        return None
    if values.min() < 0 and first > 0x7FFF:
        first -= 1 << 16
    elif values.min() >= 0 and first + len(entries) <= values[seen].min():
        first += 1 << 16 if first < 0 else 0
    return LookUpTable(first, entries, bits)


def _entries(item: Dataset, number: int, bits: int) -> Floats:
    """Read LUT Data, US or OW, always unsigned: a word for each entry, or a byte. There may be fewer than stated."""
    element = item.get_item("LUTData") if "LUTData" in item else None
    value = None if element is None else element.value
    if not isinstance(value, bytes):
        return np.array(element_numbers(item, "LUTData"), dtype=np.float64)[:number]
    little = not isinstance(element, RawDataElement) or element.is_little_endian
    words = np.frombuffer(value[: len(value) & ~1], "<u2" if little else ">u2")
    if not _in_bytes(value, words, number, bits):
        return words[:number].astype(np.float64)
    swapped = not little and element is not None and element.VR != "OB"  # PS3.5 8.2: pairs of bytes in OW
    return np.frombuffer(words.byteswap().tobytes() if swapped else value, np.uint8)[:number].astype(np.float64)


def _in_bytes(value: bytes, words: NDArray[np.uint16], number: int, bits: int) -> bool:
    """Tell whether each entry has one byte: there are too few bytes for two, and bytes of words they cannot be.

    Where 8 bits are stated, the second byte of a word would be 0. Where more are stated, there is one byte for each
    entry, and each is close to the next, as in a curve; the two bytes of a word are not.
    """
    if len(value) >= 2 * number or number < 2:
        return False
    if bits <= 8:
        return bool(words.max(initial=0) > 0xFF)
    steps = np.abs(np.diff(np.frombuffer(value, np.uint8).astype(np.int16)))
    return len(value) in (number, number + 1) and bool(steps.mean() < 16)
