"""Decide from the header whether an image is one that the model is for, and give the reason.

Tags are often missing in the field. A missing tag therefore rejects nothing (a Secondary Capture alone must carry
Modality); a tag with another value does. Where the coded attributes are missing, the descriptions are searched for
known words: many lateral chest radiographs say so only in SeriesDescription. Reasons quote coded values and single
words, never free text, which may name the patient.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pydicom.uid import DigitalXRayImageStorageForProcessing, SecondaryCaptureImageStorage

from dicom_io.identity import MANUFACTURER
from dicom_io.image.elements import element_text
from dicom_io.image.header import Header
from dicom_io.image.radiographs import RADIOGRAPH_SOP_CLASSES

# CHEST in Context Group 4 (PS3.16) and its retired SNOMED-RT code
CHEST_CODES = ("816094009", "51185008", "43799004", "T-D3000", "39607008", "T-28000")
# Words for the same views and for other parts of the body, in the languages of the field, as descriptions have them
OTHER_VIEW_WORDS = ("LAT", "LATERAL", "LATERALE", "SEITLICH", "PROFIL", "OBLIQUE", "DECUBITUS", "DECUB")
OTHER_PART_WORDS = (
    "ABDOMEN", "ABD", "KUB", "PELVIS", "HIP", "SPINE", "CSPINE", "TSPINE", "LSPINE", "CERVICAL", "LUMBAR", "SKULL",
    "TEETH", "DENTAL", "MANDIBLE", "SINUS", "SINUSES", "SHOULDER", "CLAVICLE", "HUMERUS", "ELBOW", "FOREARM", "WRIST",
    "HAND", "FINGER", "FEMUR", "KNEE", "PATELLA", "TIBIA", "ANKLE", "FOOT", "TOE", "CALCANEUS", "BREAST", "MAMMO",
    "MAMMOGRAPHY", "EXTREMITY", "RIBS", "STERNUM", "SCAPULA",
)  # fmt: skip
ANIMAL_WORDS = ("CANINE", "FELINE", "EQUINE", "BOVINE", "AVIAN", "VETERINARY", "VETERINARIAN", "VETERINAR", "TIERARZT")
HUMAN_CODES = ("337915000", "L-85B00")  # Homo sapiens, SNOMED CT and SNOMED-RT
# Values of Image Type (PS3.3 C.7.6.1.1.2) of pictures that are not one whole radiograph
EXCLUDED_IMAGE_TYPES = ("LOCALIZER", "SUBTRACTION", "TOMOSYNTHESIS", "SCREEN SAVE", "REFORMATTED")

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription",
                 "PerformedProcedureStepDescription", "StudyDescription")  # fmt: skip


@dataclass(frozen=True)
class SelectionRules:
    """What is analysed. The first six fields are the table [select] of the configuration, which has their defaults."""

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    excluded_views: tuple[str, ...]
    for_processing: bool  # accept raw detector data (DX For Processing)
    secondary_capture: bool  # accept a Secondary Capture whose Modality is one of `modalities`
    minimum_age_years: float  # 0: no limit; a patient of unknown age is accepted
    read_descriptions: bool = True  # search the descriptions where the coded attributes are missing
    animals: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether the image is analysed. `reason` is a sentence for the journal, without patient data."""

    eligible: bool
    reason: str

    @property
    def kind(self) -> Literal["eligible", "ignored"]:
        return "eligible" if self.eligible else "ignored"


def select(header: Header, rules: SelectionRules) -> Verdict:
    """Return the verdict of the first rule that rejects the image; an image that no rule rejects is eligible."""
    for rule in _RULES:
        reason = rule(header, rules)
        if reason:
            return Verdict(False, reason)
    return Verdict(True, "a frontal chest radiograph as far as its header tells")


# --- the rules: each returns the reason why it rejects the image, or ""


def _made_by_hilum(header: Header, rules: SelectionRules) -> str:
    """Reject objects that hilum made: if a result that comes back were analysed, the loop would never end."""
    equipment = [header.dataset, *header.items("ContributingEquipmentSequence")]
    own = any(
        element_text(item, keyword).lower() == MANUFACTURER
        for item in equipment
        for keyword in ("Manufacturer", "ManufacturerModelName")
    )
    return "made by this program" if own else ""


def _sop_class(header: Header, rules: SelectionRules) -> str:
    uid = header.sop_class_uid
    if uid not in RADIOGRAPH_SOP_CLASSES:
        return f"SOP Class {uid} is not a radiograph"
    if uid == DigitalXRayImageStorageForProcessing:
        return "" if rules.for_processing else "DX For Processing: detector data, not an image to look at"
    if uid == SecondaryCaptureImageStorage:
        return _secondary_capture(header, rules)
    return ""


def _secondary_capture(header: Header, rules: SelectionRules) -> str:
    """A radiograph that a gateway or an archive wrapped has Modality CR or DX; others have OT or none."""
    if not rules.secondary_capture:
        return "a Secondary Capture, not an image as the modality made it"
    if header.modality not in rules.modalities:
        return f"a Secondary Capture whose Modality is not {_listed(rules.modalities)}"
    return "a Secondary Capture with burned-in text" if header.text("BurnedInAnnotation").upper() == "YES" else ""


def _modality(header: Header, rules: SelectionRules) -> str:
    wrong = header.modality and header.modality not in rules.modalities
    return f"Modality is {_coded(header.modality)}, not {_listed(rules.modalities)}" if wrong else ""


def _presentation_intent_type(header: Header, rules: SelectionRules) -> str:
    for_processing = header.presentation_intent_type == "FOR PROCESSING" and not rules.for_processing
    return "PresentationIntentType is FOR PROCESSING" if for_processing else ""


def _image_type(header: Header, rules: SelectionRules) -> str:
    """DERIVED and SECONDARY are accepted: many CR systems write them, and every gateway that recompresses."""
    found = [value for value in header.texts("ImageType") if value.upper() in EXCLUDED_IMAGE_TYPES]
    return f"ImageType is {found[0].upper()}" if found else ""


def _species(header: Header, rules: SelectionRules) -> str:
    """Reject animals: their headers have a species, a breed or an owner (PS3.3 C.7.1.1)."""
    if rules.animals:
        return ""
    codes = [element_text(item, "CodeValue") for item in header.items("PatientSpeciesCodeSequence")]
    species = header.text("PatientSpeciesDescription").lower()
    animal = (
        (species and not re.search(r"human|homo sapiens", species))
        or (codes and not set(codes) & set(HUMAN_CODES))
        or header.text("PatientBreedDescription")
        or header.items("PatientBreedCodeSequence")
        or header.text("ResponsiblePersonRole").upper() == "OWNER"
        or _first_word(header, ("ResponsibleOrganization", "InstitutionName", *_DESCRIPTIONS), ANIMAL_WORDS)
    )
    return "not a human patient" if animal else ""


def _body_part(header: Header, rules: SelectionRules) -> str:
    part = header.body_part_examined
    if part:
        return "" if part in rules.body_parts else f"BodyPartExamined is {_coded(part)}, not the chest"
    codes = {element_text(item, "CodeValue") for item in header.items("AnatomicRegionSequence")} - {""}
    if codes:
        said = _listed(map(_coded, codes))
        return "" if codes & set(CHEST_CODES) else f"AnatomicRegionSequence says {said}, not the chest"
    if not rules.read_descriptions or _first_word(header, _DESCRIPTIONS, rules.body_parts):
        return ""
    word = _first_word(header, _DESCRIPTIONS, OTHER_PART_WORDS)
    return f"no BodyPartExamined, and a description says {word}" if word else ""


def _view_position(header: Header, rules: SelectionRules) -> str:
    view = header.view_position
    if view:
        return f"ViewPosition is {_coded(view)}, not PA or AP" if view in rules.excluded_views else ""
    for item in header.items("ViewCodeSequence"):
        found = _words(element_text(item, "CodeMeaning")) & set(OTHER_VIEW_WORDS)
        if found:
            return f"ViewCodeSequence says {min(found)}"
    # PS3.3 C.7.6.1.1.1: rows run to the left or right in a frontal image, to the front or back in a lateral one
    if header.text("PatientOrientation").upper()[:1] in ("A", "P") and len(header.texts("PatientOrientation")) == 2:
        return "PatientOrientation is that of a lateral image"
    word = _first_word(header, _DESCRIPTIONS[:-1], OTHER_VIEW_WORDS) if rules.read_descriptions else ""
    return f"no ViewPosition, and a description says {word}" if word else ""


def _age(header: Header, rules: SelectionRules) -> str:
    age = header.patient_age_years
    young = age is not None and age < rules.minimum_age_years
    return f"younger than {rules.minimum_age_years:g} years" if young else ""


_RULES: tuple[Callable[[Header, SelectionRules], str], ...] = (
    _made_by_hilum, _sop_class, _modality, _presentation_intent_type, _image_type, _species, _body_part, _view_position,
    _age,
)  # fmt: skip


def _first_word(header: Header, keywords: Iterable[str], words: Iterable[str]) -> str:
    """Return one of the upper-case `words` that the first element holding any of them contains; "" if none does."""
    for keyword in keywords:
        found = _words(header.text(keyword)) & set(words)
        if found:
            return min(found)
    return ""


def _words(text: str) -> set[str]:
    return set(re.split(r"[\W_\d]+", text.upper()))


def _coded(value: str) -> str:
    """Return `value` if it is a Code String; anything else may be free text and is not repeated."""
    return value if re.fullmatch(r"[A-Z0-9 _-]{1,16}", value) else "another value"


def _listed(values: Iterable[str]) -> str:
    return " or ".join(sorted(values))
