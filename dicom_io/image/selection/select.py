"""The rules of selection, in their order."""

from collections.abc import Callable

from dicom_io.image.header import Header
from dicom_io.image.selection.body_part import body_part, image_names_chest, looks_like_a_chest
from dicom_io.image.selection.derived import derived, image_type
from dicom_io.image.selection.origin import (
    drawn_in_colour,
    is_unnamed_capture,
    listed_class,
    made_by_hilum,
    may_be_film,
    modality,
    presentation_intent_type,
    result_of_program,
    sop_class,
)
from dicom_io.image.selection.patient import age, age_remark, oldest, species
from dicom_io.image.selection.verdict import SelectionRules, Sign, Verdict
from dicom_io.image.selection.view import listed_view, view

Rule = Callable[[Header, SelectionRules], str]  # returns the reason why it rejects the image, or ""

_RESULTS: tuple[Rule, ...] = (made_by_hilum, result_of_program)
_RULES: tuple[Rule, ...] = (
    *_RESULTS, sop_class, listed_class, modality, presentation_intent_type, image_type, drawn_in_colour, derived,
    species, body_part, view, listed_view, age, oldest,
)  # fmt: skip


def select(header: Header, rules: SelectionRules) -> Verdict:
    """Return the verdict of the first rule that rejects the image; an image that no rule rejects is eligible."""
    for rule in _RULES:
        reason = rule(header, rules)
        if reason:
            return Verdict(False, reason, _sign(header, rules))
    remark = age_remark(header, rules)
    return Verdict(True, "a frontal chest radiograph as far as its header tells", remark=remark)


def _sign(header: Header, rules: SelectionRules) -> Sign:
    """What an image that is not analysed seems to show."""
    if any(rule(header, rules) for rule in _RESULTS):
        return "result"
    if is_unnamed_capture(header):  # a scanned letter is one too: the study it is in says nothing about it
        return "chest" if may_be_film(header) and image_names_chest(header) else "other"
    return "chest" if looks_like_a_chest(header) else "other"
