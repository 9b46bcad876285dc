"""Copy patient, study and request elements from a radiograph, so that the result object belongs to the same study.

The rule: names, identifiers and descriptions are copied byte for byte, whatever they hold and however long they are,
together with Specific Character Set, because the archive matches patients and studies by them. A date, a time or a code
string (PatientSex) that violates its VR (PS3.5 6.2) or its enumerated values means nothing to any reader, and a strict
archive rejects an object that has it. It is never corrected: it is written empty if it is Type 2 and left out if it is
Type 3. The same is done with elements that are missing, unreadable, or too long for the length field. An item of a
sequence is copied only if it is whole (see `item_macros`), and a sequence without a whole item counts as missing.

In this module `source` is the radiograph's data set, best with raw elements.
"""

import re
import struct

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence as PydicomSequence
from pydicom.tag import BaseTag
from pydicom.uid import ComputedRadiographyImageStorage

from dicom_io.composite import encode
from dicom_io.composite.encode import element, item, sequence
from dicom_io.composite.item_macros import ItemMacro, macro_of
from dicom_io.identity import derived_uid
from dicom_io.modules import PATIENT_TYPE_2, PATIENT_TYPE_3, STUDY_TYPE_2, STUDY_TYPE_3

# the exceptions that pydicom raises on an element that it cannot read
UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, LookupError, OSError, EOFError, NotImplementedError,
    RecursionError, OverflowError, struct.error,
)  # fmt: skip

TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR",
                      "UT"})  # fmt: skip

# PS3.5 6.2. It asks readers to accept the older yyyy.mm.dd too; we copy that only where it identifies the patient.
_DAY = rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
VALID = {
    "DA": re.compile(_DAY),
    "TM": re.compile(rb"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"),
    "CS": re.compile(rb"[A-Z0-9 _]{1,16}"),
    "UI": re.compile(rb"(?=.{1,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))*"),
}
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # PS3.5 7.5, in either byte order
PRINTABLE = re.compile(rb"[ -~]+")
VALID_BIRTH_DATE = re.compile(_DAY + rb"|\d{4}\.\d\d\.\d\d")
LONGEST = {"CodeValue": 16, "CodingSchemeDesignator": 16}  # bytes; a longer code has another element (PS3.3 8.1)
ENUMERATED = {
    "PatientSex": frozenset({b"M", b"F", b"O"}),
    "PatientIdentityRemoved": frozenset({b"YES", b"NO"}),
    "UniversalEntityIDType": frozenset({b"DNS", b"EUI64", b"ISO", b"URI", b"UUID", b"X400", b"X500"}),  # PS3.3 10.14.1
}

# PS3.3 C.17.2, in the order of tags: keyword in Referenced Request Sequence, keyword in Request Attributes Sequence
REQUEST_TYPE_2 = {
    "AccessionNumber": "AccessionNumber",
    "ReferencedStudySequence": "ReferencedStudySequence",
    "RequestedProcedureDescription": "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence": "RequestedProcedureCodeSequence",
    "RequestedProcedureID": "RequestedProcedureID",
    "PlacerOrderNumberImagingServiceRequest": "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest": "FillerOrderNumberImagingServiceRequest",
}


def value(source: Dataset, keyword: str) -> bytes:
    """The value of a text element as bytes, with padding; b"" if it is missing or cannot be read."""
    return _value(source, encode.tag_and_vr(keyword)[0])


def stripped(source: Dataset, keyword: str) -> bytes:
    """`value` without its padding (PS3.5 6.2)."""
    return value(source, keyword).strip(b" \0")


def text(source: Dataset, keyword: str) -> str:
    """`stripped` as ASCII, with a question mark for every other byte."""
    return stripped(source, keyword).decode("ascii", errors="replace").replace("\ufffd", "?")


def items(source: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; [] if it is missing or cannot be read."""
    return _items(source, encode.tag_and_vr(keyword)[0])


def sop_instance_uid(source: Dataset) -> str:
    """From the data set, else from the File Meta Information, else a derived UID.

    The receiver writes the File Meta Information from the sender's C-STORE request (PS3.10 7.1).
    """
    return _uid(source, "SOPInstanceUID") or _meta_uid(source, "MediaStorageSOPInstanceUID") or derived_uid("no image")


def sop_class_uid(source: Dataset) -> str:
    """From the data set, else from the File Meta Information, else Computed Radiography."""
    return (
        _uid(source, "SOPClassUID")
        or _meta_uid(source, "MediaStorageSOPClassUID")
        or str(ComputedRadiographyImageStorage)
    )


def series_instance_uid(source: Dataset) -> str:
    """From the data set, else derived from the SOP Instance UID."""
    return _uid(source, "SeriesInstanceUID") or derived_uid("series of", sop_instance_uid(source))


def study_instance_uid(source: Dataset) -> str:
    """From the data set, else derived from the SOP Instance UID."""
    return _uid(source, "StudyInstanceUID") or derived_uid("study of", sop_instance_uid(source))


def _uid(source: Dataset, keyword: str) -> str:
    """A UID without padding; "" if missing or too long to be written, so that a Type 1 element needs a substitute."""
    found = text(source, keyword)
    return found if len(found) <= encode.SHORT_VR_MAXIMUM else ""


def _meta_uid(source: Dataset, keyword: str) -> str:
    meta = getattr(source, "file_meta", None)
    return _uid(meta, keyword) if isinstance(meta, Dataset) else ""


def study_date(source: Dataset) -> bytes:
    """Study Date for a DATE content item; b"" if it is missing or not a valid DA (PS3.5 6.2)."""
    found = stripped(source, "StudyDate")
    return found if VALID["DA"].fullmatch(found) else b""


def patient_and_study(source: Dataset) -> dict[str, bytes]:
    """Encoded elements by keyword: the modules Patient and General Study, and Specific Character Set."""
    elements = {keyword: element(keyword) for keyword in (*PATIENT_TYPE_2, *STUDY_TYPE_2)}
    wanted = (*PATIENT_TYPE_2, *PATIENT_TYPE_3, *STUDY_TYPE_2, *STUDY_TYPE_3, "SpecificCharacterSet")
    for keyword in wanted:
        if copied := copied_element(source, keyword):
            elements[keyword] = copied
    methods = {"DeidentificationMethod", "DeidentificationMethodCodeSequence"}
    if stripped(source, "PatientIdentityRemoved") == b"YES" and not methods & elements.keys():
        del elements["PatientIdentityRemoved"]  # C.7.1.1: YES requires one of them
    elements["StudyInstanceUID"] = element("StudyInstanceUID", study_instance_uid(source))
    return elements


def referenced_requests(source: Dataset) -> list[bytes]:
    """Encoded items of Referenced Request Sequence (0040,A370), one for each item of Request Attributes Sequence."""
    return [_referenced_request(request, source) for request in items(source, "RequestAttributesSequence")]


def _referenced_request(request: Dataset, source: Dataset) -> bytes:
    elements = {
        keyword: copied_element(request, from_) or element(keyword) for keyword, from_ in REQUEST_TYPE_2.items()
    }
    study = _uid(request, "StudyInstanceUID") or study_instance_uid(source)
    elements["StudyInstanceUID"] = element("StudyInstanceUID", study)
    if not stripped(request, "AccessionNumber"):
        elements["AccessionNumber"] = copied_element(source, "AccessionNumber") or element("AccessionNumber")
    if issuer := copied_element(request, "IssuerOfAccessionNumberSequence"):
        elements["IssuerOfAccessionNumberSequence"] = issuer
    return item(encode.dataset(elements))


def procedure(source: Dataset) -> bytes | None:
    """The first complete item of Procedure Code Sequence, encoded; None if there is none."""
    return next(iter(_whole_items(source, "ProcedureCodeSequence")), None)


def copied_element(source: Dataset, keyword: str) -> bytes:
    """The element, copied by the rule of this module and encoded; b"" if the rule does not let it be copied."""
    tag, vr = encode.tag_and_vr(keyword)
    if vr == "SQ":
        found = _whole_items(source, keyword)
        return sequence(keyword, found) if found else b""
    data = _value(source, tag)
    return element(keyword, data) if _acceptable(keyword, vr, data) else b""


def _acceptable(keyword: str, vr: str, data: bytes) -> bool:
    """Tell whether the rule of this module lets the value be copied."""
    bare = data.strip(b" \0")
    if not bare or len(data) > encode.SHORT_VR_MAXIMUM:
        return False
    if keyword == "SpecificCharacterSet":  # tells how to read the copied bytes, even if it is misspelt
        return PRINTABLE.fullmatch(bare) is not None
    valid = VALID_BIRTH_DATE if keyword == "PatientBirthDate" else VALID.get(vr)
    if valid and not valid.fullmatch(bare):
        return False
    return bare in ENUMERATED.get(keyword, (bare,)) and len(bare) <= LONGEST.get(keyword, len(bare))


def _whole_items(source: Dataset, keyword: str) -> list[bytes]:
    """Encode the items of a sequence that are whole; [] if its macro is not known."""
    macro = macro_of(keyword)
    copied = [_copied_item(one, macro) for one in items(source, keyword)] if macro else []
    return [one for one in copied if one]


def _copied_item(source: Dataset, macro: ItemMacro) -> bytes:
    """Copy an item by the same rule; b"" if it is not whole."""
    found = {word: data for word in macro.words if (data := copied_element(source, word))}
    words = macro.whole(found)
    return item(encode.dataset({word: found[word] for word in words})) if words else b""


def _value(source: Dataset, tag: int) -> bytes:
    try:
        found = source.get_item(BaseTag(tag))
        if isinstance(found, RawDataElement):
            return bytes(found.value or b"")
        return _encoded_value(found, source) if isinstance(found, DataElement) else b""
    except UNREADABLE:
        return b""


def _encoded_value(found: DataElement, source: Dataset) -> bytes:
    """Encode a value that is a Python object, not raw bytes, in the character set of its data set."""
    if found.VR not in TEXT_VRS or found.is_empty:
        return b""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_data_element(buffer, found, _encodings(source))
    return buffer.getvalue()[8:]  # after tag and length (PS3.5 7.1.3)


def _encodings(source: Dataset) -> list[str]:
    """Python's names of the character sets; if they are unknown, the default with which pydicom then reads."""
    try:
        return convert_encodings(source.get("SpecificCharacterSet", "ISO_IR 6"))
    except UNREADABLE:
        return [default_encoding]


def _items(source: Dataset, tag: int) -> list[Dataset]:
    try:
        raw = source.get_item(BaseTag(tag)) if tag in source else None
        if raw is None or (isinstance(raw, RawDataElement) and bytes(raw.value or b"")[:4] not in _ITEM_TAGS):
            return []  # a text in place of the sequence would be read as an item of nothing
        found = source[tag].value
        return [one for one in found if isinstance(one, Dataset)] if isinstance(found, PydicomSequence) else []
    except UNREADABLE:
        return []
