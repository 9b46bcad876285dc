"""Read single elements of any data set without exceptions or warnings, because malformed values are common.

Reading text or numbers leaves the element in the data set as raw bytes, so that it can still be copied byte for byte.
"""

import struct
import warnings
from collections.abc import MutableSequence

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def element_text(dataset: Dataset, keyword: str) -> str:
    """Like `Header.text`, for any data set."""
    element = _get(dataset, keyword)
    if element is None or element.value is None:
        return ""
    value = element.value
    if isinstance(value, bytes):
        return _decoded(value, dataset).strip(" \0")
    if isinstance(value, str):
        return value.strip(" \0")
    return "\\".join(str(part) for part in value) if isinstance(value, MutableSequence) else str(value)


def element_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Like `Header.numbers`, for any data set. Numbers of VR "US or SS" are read as unsigned."""
    element = _get(dataset, keyword)
    value = None if element is None else element.value
    if value is None:
        return ()
    try:
        if isinstance(element, RawDataElement):
            return _raw_numbers(element)
        return tuple(float(part) for part in value) if isinstance(value, MutableSequence) else (float(value),)
    except (ValueError, TypeError, OverflowError, struct.error):
        return ()


def _raw_numbers(element: RawDataElement) -> tuple[float, ...]:
    """Parse the bytes of DS, IS, US or SS. Raises ValueError (also for another VR), struct.error."""
    value = element.value or b""
    vr = element.VR if element.VR not in (None, "UN") else dictionary_VR(element.tag)
    if vr in ("DS", "IS"):
        return tuple(float(part) for part in value.decode("ascii").strip(" \0").split("\\") if part.strip())
    if vr not in ("US", "SS", "US or SS"):
        raise ValueError(vr)
    order, kind = "<" if element.is_little_endian else ">", "h" if vr == "SS" else "H"
    return tuple(float(number) for number in struct.unpack(f"{order}{len(value) // 2}{kind}", value))


def element_items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Like `Header.items`, for any data set."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise  # it must not look as if the sequence were missing
    except Exception:  # parsing a malformed sequence may raise anything; it counts as missing
        return ()
    return tuple(value) if isinstance(value, Sequence) else ()


def _get(dataset: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    tag = tag_for_keyword(keyword)
    return None if tag is None or tag not in dataset else dataset.get_item(tag)  # get_item does not parse it


def _decoded(value: bytes, dataset: Dataset) -> str:
    try:
        charset = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(value, convert_encodings(charset), {0x5C, 0x3D, 0x5E})
    except Exception:  # Specific Character Set of another VR may raise anything when it is parsed
        return value.decode("latin-1")
