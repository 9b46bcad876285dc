"""Whose image it is: one patient or two, and whether two headers name the same patient and study."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from dicom_io.elements import element_items, element_text
from dicom_io.image.header import Header
from dicom_io.modules import PATIENT_TYPE_2, PATIENT_TYPE_3, STUDY_TYPE_2, STUDY_TYPE_3

_SUBJECT = ("StudyInstanceUID", *PATIENT_TYPE_2, *PATIENT_TYPE_3, *STUDY_TYPE_2, *STUDY_TYPE_3)
# what tells the items of these modules' sequences apart: codes (PS3.3 8.8), identifiers and who issued them (10.14,
# 10.15)
_IDENTIFYING = (
    "CodeValue", "CodingSchemeDesignator", "CodeMeaning", "PatientID", "IssuerOfPatientID", "LocalNamespaceEntityID",
    "UniversalEntityID", "UniversalEntityIDType",
)  # fmt: skip


def same_patient(one: Header, other: Header) -> bool:
    """Whether two headers may be of one patient.

    Patient ID with its issuer decides (PS3.3 C.7.1.1); an issuer that one of them does not state is not a difference,
    and neither is the spelling of a name. Where one of them has no Patient ID, they are of two patients only if both
    the birth dates and the names differ.
    """
    ids = one.text("PatientID"), other.text("PatientID")
    issuers = one.text("IssuerOfPatientID"), other.text("IssuerOfPatientID")
    if all(ids):
        return ids[0] == ids[1] and (issuers[0] == issuers[1] or not all(issuers))
    births = _digits(one.text("PatientBirthDate")), _digits(other.text("PatientBirthDate"))
    names = _letters(one.text("PatientName")), _letters(other.text("PatientName"))
    return not (all(births) and births[0] != births[1] and all(names) and names[0] != names[1])


def count_patients(headers: Sequence[Header]) -> int:
    """How many patients these headers name; a header that may be of a patient named before names no new one."""
    named: list[Header] = []
    for header in headers:
        if not any(same_patient(header, earlier) for earlier in named):
            named.append(header)
    return len(named)


def subject_digest(header: Header) -> str:
    """SHA-256, in hexadecimal, of what the header says in the Patient and General Study modules and of the study's UID.

    It is taken of the decoded text, so that another Specific Character Set, VR encoding or padding is no difference.
    """
    said = {keyword: _said(header.dataset, keyword) for keyword in _SUBJECT}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _said(dataset: Dataset, keyword: str) -> Any:
    """The text of an element; of a sequence, that of the elements in its items which identify something."""
    items = element_items(dataset, keyword)
    if not items:
        return element_text(dataset, keyword)
    return [[element_text(item, word) for word in _IDENTIFYING] for item in items]


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _letters(text: str) -> str:
    """The letters of a name's first component group, in any order of its words (PS3.5 6.2.1)."""
    return " ".join(sorted(re.findall(r"\w+", text.split("=")[0].casefold())))
