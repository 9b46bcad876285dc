"""From which side an image was taken, by the first element that says so."""

from collections.abc import Iterator
from typing import Literal, cast

from dicom_io.elements import element_items
from dicom_io.image.header import Header
from dicom_io.image.selection.body_part import IMAGE_DESCRIPTIONS
from dicom_io.image.selection.codes import meaning
from dicom_io.image.selection.verdict import SelectionRules
from dicom_io.image.selection.words import named

Projection = Literal["PA", "AP", ""]
View = Literal["PA", "AP", "lateral", "oblique", "decubitus", ""]

_VIEWS = {"lateral": "a lateral view", "oblique": "an oblique view", "decubitus": "a decubitus view"}


def view(header: Header, rules: SelectionRules) -> str:
    """Return why the view is one of `rules.excluded_views`; "" if it is not, or is not known."""
    if header.view_position and header.view_position in {value.upper() for value in rules.excluded_views}:
        known = _of_one_image(named(header.view_position, "view", coded=True))
        return _reason(known, "View Position") if known in _VIEWS else "a view that the configuration excludes"
    named_by_site = (named(value, "view", coded=True) for value in rules.excluded_views)
    excluded = frozenset[str]().union(*named_by_site) & set(_VIEWS)
    sources = _sources(header, rules.read_descriptions)
    found, where = next(((found, where) for where, found in sources if found), ("", ""))
    return _reason(found, where) if found in excluded else ""


def listed_view(header: Header, rules: SelectionRules) -> str:
    """Return why the projection is not one of `rules.views`; "" if it is, or is not known."""
    found = projection(header)
    if not rules.views or not found or found in rules.views:
        return ""
    return f"the view is {found}, and the model is for {' and '.join(rules.views)}"


def projection(header: Header) -> Projection:
    """Return whether the rays went from the back to the front ("PA") or from the front to the back ("AP").

    View Position (PS3.3 C.8.1.1, C.8.11.1), View Code Sequence and the descriptions of the image and its series are
    asked. "" where none of them says it, and where two of them contradict each other.
    """
    said = [named(header.view_position, "projection", coded=True)]
    said += [named(meaning(item), "projection") for item in header.items("ViewCodeSequence")]
    said += [named(header.text(keyword), "projection") for keyword in IMAGE_DESCRIPTIONS]
    names = {next(iter(found)) for found in said if len(found) == 1}
    return cast(Projection, names.pop()) if len(names) == 1 else ""


def stated_view(header: Header) -> View:
    """Return what the first element that names a view says, in one word; "" where none does."""
    found = next((found for _, found in _sources(header, descriptions=True) if found), "")
    return cast(View, found) if found in _VIEWS else projection(header)


def _reason(found: str, where: str) -> str:
    return f"{_VIEWS[found]}: the model reads frontal views only ({where})"


def _sources(header: Header, descriptions: bool) -> Iterator[tuple[str, str]]:
    yield "View Position", _of_one_image(named(header.view_position, "view", coded=True))
    for item in header.items("ViewCodeSequence"):
        modifiers = element_items(item, "ViewModifierCodeSequence")
        yield "View Code Sequence", _of_one_image(named(" ".join(map(meaning, (item, *modifiers))), "view"))
    yield "Patient Orientation", _by_orientation(header)
    if descriptions:
        for keyword, name in IMAGE_DESCRIPTIONS.items():
            yield name, _described(named(header.text(keyword), "view"))


def _of_one_image(kinds: frozenset[str]) -> str:
    """What the element of one image says: "PA oblique" is oblique, and "AP, left lateral decubitus" is decubitus."""
    for kind in ("decubitus", "oblique"):
        if kind in kinds:
            return kind
    return next(iter(kinds)) if len(kinds) == 1 else ""  # "AP/LAT" is no answer


def _described(kinds: frozenset[str]) -> str:
    """What a description says: one that names a frontal view beside another is the name of several images."""
    return "" if "frontal" in kinds and len(kinds) > 1 else _of_one_image(kinds)


def _by_orientation(header: Header) -> str:
    """PS3.3 C.7.6.1.1.1: rows run to the left or right in a frontal image, to the front or back in a lateral one."""
    row = header.text("PatientOrientation").upper()[:1]
    return "lateral" if row in ("A", "P") and len(header.texts("PatientOrientation")) == 2 else ""
