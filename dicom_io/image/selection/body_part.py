"""Which part of the body an image shows, by the first element that says so.

Body Part Examined has Defined Terms (PS3.3 C.7.3.1, PS3.16 Annex L), so a device may send others, and it is wrong more
often than any other element. Its words count, not the whole value. What it leaves open is asked of the codes and then
of the descriptions; where nothing names a part, none is known.
"""

from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset

from dicom_io.elements import element_items, element_text
from dicom_io.image.header import Header
from dicom_io.image.selection.codes import meaning
from dicom_io.image.selection.verdict import SelectionRules
from dicom_io.image.selection.words import is_qualified, named

Parts = frozenset[str]  # headings of the vocabulary: "chest", "hand" ...

# The descriptions of the image and its series, and those of the whole study, which other images share
IMAGE_DESCRIPTIONS = {
    "SeriesDescription": "Series Description",
    "ProtocolName": "Protocol Name",
    "AcquisitionDeviceProcessingDescription": "Acquisition Device Processing Description",
    "PerformedProcedureStepDescription": "Performed Procedure Step Description",
}
_STUDY_DESCRIPTIONS = {
    "StudyDescription": "Study Description",
    "RequestedProcedureDescription": "Requested Procedure Description",
    "ScheduledProcedureStepDescription": "Scheduled Procedure Step Description",
}
_REGION_CODES = {
    "AnatomicRegionSequence": "Anatomic Region Sequence",
    "PrimaryAnatomicStructureSequence": "Primary Anatomic Structure Sequence",
}
_STUDY_CODES = {
    "ProcedureCodeSequence": "Procedure Code Sequence",
    "RequestedProcedureCodeSequence": "Requested Procedure Code Sequence",
    "ScheduledProtocolCodeSequence": "Scheduled Protocol Code Sequence",
}
_OF_MODALITY = {"MG": "breast", "PX": "teeth", "IO": "teeth"}  # PS3.3 C.7.3.1.1.1


def body_part(header: Header, rules: SelectionRules) -> str:
    """Return why the part of the body is not one of `rules.body_parts`; "" if it is, or is not known."""
    if header.body_part_examined in _upper(rules.body_parts):
        return ""
    wanted = Parts().union(*(parts_named(value, coded=True) for value in rules.body_parts))
    parts, where = shown(header, rules.read_descriptions)
    if parts <= wanted:
        return ""
    if parts == {"ribs"}:
        return f"a view of the ribs, not of the whole chest ({where})"
    others = " and ".join(sorted(parts - wanted))
    return f"more than the chest: {others} too ({where})" if parts & wanted else f"another part: {others} ({where})"


def looks_like_a_chest(header: Header) -> bool:
    """Whether any element speaks for the chest, or none names a part.

    An element that names the chest speaks for it even where an earlier one names another part, unless it names that
    part too: a study of chest and hand may well hold a hand.
    """
    parts, _ = shown(header)
    if not parts or parts & {"chest", "ribs"}:
        return True
    return any(said & {"chest", "ribs"} and not said & parts for _, said in _sources(header))


def image_names_chest(header: Header) -> bool:
    """Whether an element of the image or its series, rather than of the study, names the chest."""
    return any("chest" in said for _, said in (*_coded(header), *_described(header, IMAGE_DESCRIPTIONS)))


def shown(header: Header, read_descriptions: bool = True) -> tuple[Parts, str]:
    """Return the parts of the first element that names any, and that element; no parts and "" if none does."""
    sources = _sources(header) if read_descriptions else _coded(header)
    return next(((said, where) for where, said in sources if said), (Parts(), ""))


def parts_named(text: str, coded: bool = False) -> Parts:
    """Return the parts that a text names. Ribs beside the chest are the chest's."""
    found = named(text, "part", coded)
    if not found - {"ribs"} and is_qualified(text):
        found |= {"chest"}
    return found - {"ribs"} if "chest" in found else found


def _sources(header: Header) -> Iterator[tuple[str, Parts]]:
    yield from _coded(header)
    for where, said in (*_described(header, IMAGE_DESCRIPTIONS), *_of_the_study(header)):
        yield where, Parts() if "chest" in said and len(said) > 1 else said  # several images' names: none is told apart
    yield "Modality", Parts({_OF_MODALITY[header.modality]}) if header.modality in _OF_MODALITY else Parts()


def _coded(header: Header) -> Iterator[tuple[str, Parts]]:
    yield "Body Part Examined", parts_named(header.text("BodyPartExamined"), coded=True)
    yield from _meanings(header.dataset, _REGION_CODES, coded=True)
    yield from _meanings(header.dataset, {"ViewCodeSequence": "View Code Sequence"})
    yield from _meanings(header.dataset, {"PerformedProtocolCodeSequence": "Performed Protocol Code Sequence"})


def _described(header: Header, keywords: dict[str, str]) -> Iterator[tuple[str, Parts]]:
    return ((name, parts_named(header.text(keyword))) for keyword, name in keywords.items())


def _of_the_study(header: Header) -> Iterator[tuple[str, Parts]]:
    for dataset in (header.dataset, *header.items("RequestAttributesSequence")):
        yield from _meanings(dataset, _STUDY_CODES)
        for keyword, name in _STUDY_DESCRIPTIONS.items():
            yield name, parts_named(element_text(dataset, keyword))


def _meanings(dataset: Dataset, keywords: dict[str, str], coded: bool = False) -> Iterator[tuple[str, Parts]]:
    for keyword, name in keywords.items():
        said = (parts_named(meaning(item), coded) for item in element_items(dataset, keyword))
        yield name, Parts().union(*said)


def _upper(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(value.upper() for value in values)
