"""Whether the patient is one for whom the model is meant."""

import re

from dicom_io.elements import element_text
from dicom_io.image.header import Header
from dicom_io.image.selection.age import counted_years, stated_years
from dicom_io.image.selection.body_part import IMAGE_DESCRIPTIONS
from dicom_io.image.selection.verdict import SelectionRules
from dicom_io.image.selection.words import named

HUMAN_CODES = ("337915000", "L-85B00")  # Homo sapiens, SNOMED CT and SNOMED-RT


def species(header: Header, rules: SelectionRules) -> str:
    """Reject animals: their headers have a species, a breed or an owner (PS3.3 C.7.1.1)."""
    if rules.animals:
        return ""
    codes = [element_text(item, "CodeValue") for item in header.items("PatientSpeciesCodeSequence")]
    described = header.text("PatientSpeciesDescription").lower()
    places = ("ResponsibleOrganization", "InstitutionName", *IMAGE_DESCRIPTIONS, "StudyDescription")
    animal = (
        (described and not re.search(r"human|homo sapiens", described))
        or (codes and not set(codes) & set(HUMAN_CODES))
        or header.text("PatientBreedDescription")
        or header.items("PatientBreedCodeSequence")
        or header.text("ResponsiblePersonRole").upper() == "OWNER"
        or any(named(header.text(keyword), "patient") for keyword in places)
    )
    return "not a human patient" if animal else ""


def age(header: Header, rules: SelectionRules) -> str:
    """Reject children. Patient's Age and birth date may each be missing or wrong; an unknown age rejects nobody.

    Where both are there, the birth date is the finer one. Where one says child and the other adult, and they are more
    than a year apart, one is wrong, and the image is not analysed; but an age of 0 beside an adult's birth date is what
    a form has before it is filled in.
    """
    stated, counted = stated_years(header), counted_years(header)
    limit = rules.minimum_age_years
    if stated is None or counted is None or abs(stated - counted) <= 1:
        known = stated if counted is None else counted
        return _too_young(known is not None and known < limit, limit)
    if (stated < limit) == (counted < limit):
        return _too_young(stated < limit, limit)
    if not stated:
        return ""
    return f"Patient's Age and birth date contradict each other: one is of an age below {limit:g} years"


def oldest(header: Header, rules: SelectionRules) -> str:
    """Reject who is surely older than the model is meant for, by whichever is there of Patient's Age and birth date."""
    known = [years for years in (stated_years(header), counted_years(header)) if years is not None]
    limit = rules.maximum_age_years
    old = bool(limit and known) and min(known) > limit
    return f"older than {limit:g} years: the model is meant for younger patients" if old else ""


def age_remark(header: Header, rules: SelectionRules) -> str:
    """Return what a reader has to know if nothing readable says how old the patient is; else ""."""
    limit = rules.minimum_age_years
    if not limit or stated_years(header) is not None or counted_years(header) is not None:
        return ""
    return f"The patient's age is unknown, and the model is meant for patients of at least {limit:g} years."


def _too_young(young: bool, limit: float) -> str:
    return f"younger than {limit:g} years: the model is not meant for children" if young else ""
