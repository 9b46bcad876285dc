"""How a radiograph says that its pixels are to be shown, copied for an object that shows them again (PS3.3 C.11).

What an image says wrongly, or in a way that the standard does not know, is not copied: the object then shows the whole
range of values. No header makes these functions raise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from struct import pack, unpack

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dicom_io.composite import copying
from dicom_io.composite.encode import element, item, number, sequence
from dicom_io.elements import element_items, element_numbers, element_text

WORD = 0xFFFF


@dataclass(frozen=True)
class _Table:
    """A LUT (PS3.3 C.11.1.1): the input value that its first entry is for, and its entries."""

    first: int
    entries: Sequence[int]

    def of(self, value: int) -> int:
        """The entry for an input; beyond the ends, that of the end."""
        return self.entries[min(max(value - self.first, 0), len(self.entries) - 1)]


def modality_lut(source: Dataset) -> dict[str, bytes]:
    """Modality LUT, PS3.3 C.11.1: the rescaling; {} where the image has none, or a table, which `voi_lut` contains."""
    slope, intercept = element_numbers(source, "RescaleSlope"), element_numbers(source, "RescaleIntercept")
    if not slope or not intercept or not slope[0] or not _finite(slope[0], intercept[0]):
        return {}
    if any(_tables(source, "ModalityLUTSequence")):
        return {}
    return {
        "RescaleIntercept": element("RescaleIntercept", _decimal(intercept[0])),
        "RescaleSlope": element("RescaleSlope", _decimal(slope[0])),
        "RescaleType": copying.copied_element(source, "RescaleType") or element("RescaleType", "US"),
    }


def voi_lut(source: Dataset) -> bytes:
    """The one item of Softcopy VOI LUT Sequence, PS3.3 C.11.8: the image's first table, else its first window.

    An image that has neither is shown from its smallest to its largest value, as far as its header tells these. b""
    where it does not. A modality table and what follows it become one table.
    """
    modality = next(_tables(source, "ModalityLUTSequence"), None)
    voi = next(_tables(source, "VOILUTSequence"), None)
    window = next(_windows(source), None)
    if modality:
        return _softcopy(_Table(modality.first, [_shown(entry, voi, window) for entry in modality.entries]))
    if voi:
        return _softcopy(voi)
    window = window or _whole_range(source)
    if window is None:
        return b""
    function = _function(source)
    named = [element("VOILUTFunction", function)] if function != "LINEAR" else []
    ends = element("WindowCenter", _decimal(window[0])), element("WindowWidth", _decimal(window[1]))
    return item(*ends, *named)


def polarity(source: Dataset) -> bytes:
    """Presentation LUT Shape, PS3.3 C.11.6: MONOCHROME1 is inverted, and nothing else is.

    A presentation state replaces Photometric Interpretation and what the image itself says of the shape (PS3.4 N.2.1).
    """
    inverted = element_text(source, "PhotometricInterpretation").upper() == "MONOCHROME1"
    return element("PresentationLUTShape", "INVERSE" if inverted else "IDENTITY")


def _softcopy(table: _Table) -> bytes:
    """A VOI LUT in words of 16 bits, which a presentation state asks for, with the largest entry as white.

    That is what devices mean whose descriptor states more bits than their entries use.
    """
    largest, count = max(table.entries) or 1, len(table.entries)
    stretched = pack(f"<{count}H", *(WORD * entry // largest for entry in table.entries))
    encoded = item(number("LUTDescriptor", count & WORD, table.first, 16), element("LUTData", stretched))
    return item(sequence("VOILUTSequence", [encoded]))


def _shown(value: int, voi: _Table | None, window: tuple[float, float] | None) -> int:
    """What a value becomes after the modality table: by the VOI LUT, else by the window (C.11.2.1.2), else itself."""
    if voi:
        return voi.of(value)
    if window is None:
        return value
    share = (value - window[0] + 0.5) / max(window[1] - 1, 1) + 0.5
    return round(WORD * min(max(share, 0), 1))


def _function(source: Dataset) -> str:
    said = element_text(source, "VOILUTFunction").upper()
    return said if said in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"


def _windows(source: Dataset) -> Iterator[tuple[float, float]]:
    """Center and width of each window that the standard allows."""
    least = 1 if _function(source) == "LINEAR" else 1e-6  # C.11.2.1.2.1
    centers, widths = element_numbers(source, "WindowCenter"), element_numbers(source, "WindowWidth")
    for center, width in zip(centers, widths, strict=False):
        if _finite(center, width) and width >= least:
            yield center, width


def _whole_range(source: Dataset) -> tuple[float, float] | None:
    """The window from the smallest to the largest value, where the header tells these and does not rescale them."""
    ends = [element_numbers(source, name) for name in ("SmallestImagePixelValue", "LargestImagePixelValue")]
    if modality_lut(source) or not all(ends):
        return None
    low, high = ends[0][0], ends[1][0]
    return ((low + high + 1) / 2, high - low + 1) if _finite(low, high) and low < high else None


def _tables(source: Dataset, keyword: str) -> Iterator[_Table]:
    """The LUTs of a sequence whose descriptor and data fit each other."""
    for one in element_items(source, keyword):
        descriptor, data = element_numbers(one, "LUTDescriptor"), _data(one)
        if len(descriptor) != 3 or not _finite(*descriptor) or not any(data) or len(data) % 2:
            continue
        entries = unpack(f"<{len(data) // 2}H", data)
        if len(entries) == (int(descriptor[0]) & WORD or WORD + 1):
            yield _Table(int(descriptor[1]) & WORD, entries)


def _data(one: Dataset) -> bytes:
    """LUT Data as little endian words; b"" where it is anything else."""
    found = one.get_item("LUTData") if "LUTData" in one else None
    if not isinstance(found, RawDataElement) or not found.is_little_endian:
        return b""
    return bytes(found.value or b"")


def _finite(*values: float) -> bool:
    return all(map(isfinite, values))


def _decimal(value: float) -> str:
    """A DS, which has at most 16 characters (PS3.5 6.2)."""
    return next(text for text in (f"{value:.{digits}g}" for digits in range(15, 0, -1)) if len(text) <= 16)
