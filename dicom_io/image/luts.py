"""Map stored values to what a radiologist sees: Modality LUT, VOI LUT and polarity in one table.

A radiograph has at most 65536 different stored values. The whole grayscale pipeline (PS3.4 N.2) is therefore computed
once for each value, in float64, and applied to the pixels by one look-up. The table's index is a *level*: the stored
value less the smallest one that Bits Stored and Pixel Representation allow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dicom_io.image.elements import element_numbers
from dicom_io.image.header import Header

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StoredValues:
    """How stored values lie in pixel cells (PS3.5 8.1.1)."""

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def levels(self) -> int:
        return 1 << self.bits_stored

    @property
    def smallest(self) -> int:
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def sign_bit(self) -> int:
        return 1 << (self.bits_stored - 1) if self.signed else 0


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


def display_table(header: Header, stored: StoredValues, low: int, high: int) -> NDArray[np.float32]:
    """Return float32 [levels]: for each level its brightness, 0 black to 1 white.

    `low` and `high` are the smallest and largest level in the image. The order is that of PS3.4 N.2: Modality LUT, then
    the first VOI LUT or window, then MONOCHROME1 is inverted. It is inverted only once: Presentation LUT Shape repeats
    the polarity and is ignored. Without a usable VOI LUT, 8-bit values 0 to 255 become 0 to 1, because such an image is
    ready for display, like a PNG file; otherwise the values between `low` and `high` are stretched to 0 to 1.
    """
    values = np.arange(stored.levels, dtype=np.float64) + stored.smallest
    shown = None
    if header.photometric_interpretation in ("MONOCHROME1", "MONOCHROME2", ""):  # these LUTs do not apply to colour
        values = modality_values(header, values, stored)
        shown = _voi(header, values, stored)
    if shown is None:
        held = values[low : high + 1]
        smallest, largest = (0.0, 255.0) if _is_display(values) else (held.min(), held.max())
        shown = np.clip((values - smallest) / max(largest - smallest, np.finfo(np.float64).tiny), 0.0, 1.0)
    if header.photometric_interpretation == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the smallest value is white
        shown = 1.0 - shown
    return shown.astype(np.float32)


def _is_display(values: Floats) -> bool:
    """Tell whether these are the 256 unsigned values of 8 bits, unchanged by a Modality LUT."""
    return len(values) == 256 and values[0] == 0 and values[-1] == 255


def modality_values(header: Header, values: Floats, stored: StoredValues) -> Floats:
    """Apply the Modality LUT, else Rescale Slope and Intercept, else return the values unchanged (PS3.3 C.11.1)."""
    for item in header.items("ModalityLUTSequence"):
        table = _table(item, stored.signed)
        if table is not None:
            return table.apply(values)
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if slope and intercept and slope[0] != 0 and np.isfinite([slope[0], intercept[0]]).all():
        return values * slope[0] + intercept[0]
    return values


def _voi(header: Header, values: Floats, stored: StoredValues) -> Floats | None:
    """Apply the first usable VOI LUT, else the first usable window (PS3.3 C.11.2): 0..1; None if there is neither."""
    for item in header.items("VOILUTSequence"):
        table = _table(item, stored.signed or values[0] < 0)
        if table is not None:
            full = max((1 << table.bits) - 1, table.entries.max())  # entries may exceed their stated bits
            shown: Floats = table.apply(values) / full
            return shown
    function = header.text("VOILUTFunction").upper() or "LINEAR"
    for center, width in zip(header.numbers("WindowCenter"), header.numbers("WindowWidth"), strict=False):
        if np.isfinite([center, width]).all() and width >= (1 if function == "LINEAR" else 1e-6):
            return window(values, center, width, function)
    return None


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


def _table(item: Dataset, signed: bool) -> LookUpTable | None:
    """Read a LUT item; None if it cannot be used. `signed`: whether input values, so also the first one, may be < 0."""
    descriptor = element_numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not np.isfinite(descriptor).all():
        return None
    number = int(descriptor[0]) & 0xFFFF or 1 << 16  # PS3.3 C.11.1.1.1: 0 stands for 65536
    first, bits = int(descriptor[1]), int(descriptor[2])
    if signed and first > 0x7FFF:
        first -= 1 << 16  # it is SS, but was written or read as US
    entries = _entries(item, number)
    return LookUpTable(first, entries, bits) if len(entries) and 0 < bits <= 16 else None


def _entries(item: Dataset, number: int) -> Floats:
    """Read LUT Data, US or OW, always unsigned; entries have one byte where the length is too short for two."""
    element = item.get_item("LUTData") if "LUTData" in item else None
    value = None if element is None else element.value
    if isinstance(value, bytes):
        little = not isinstance(element, RawDataElement) or element.is_little_endian
        kind = np.dtype(np.uint8) if len(value) < 2 * number else np.dtype("<u2" if little else ">u2")
        return np.frombuffer(value[: number * kind.itemsize], kind).astype(np.float64)
    return np.array(element_numbers(item, "LUTData"), dtype=np.float64)[:number]


def padding_levels(header: Header, stored: StoredValues) -> tuple[int, int] | None:
    """Return the first and last level of Pixel Padding (PS3.3 C.7.5.1.1.2), or None if the header has none."""
    value = header.text("PixelPaddingValue") and header.numbers("PixelPaddingValue")
    if not value:
        return None
    ends = [value[0], *header.numbers("PixelPaddingRangeLimit")[:1]]
    if not np.isfinite(ends).all():
        return None
    levels = [(int(end) & (stored.levels - 1)) ^ stored.sign_bit for end in ends]
    return min(levels), max(levels)
