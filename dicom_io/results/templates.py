"""The templates of PS3.16 that a report is made of: one function for each, which returns encoded content items.

Order matters and is that of each template's rows. A content item is `bytes`: an encoded item of Content Sequence
(PS3.3 C.17.3), its elements in the order of their tags.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from dicom_io.composite import codes
from dicom_io.composite.codes import Code
from dicom_io.composite.encode import element, item, sequence
from dicom_io.composite.macros import code_item, sop_reference
from dicom_io.composite.repertoire import ASCII, Repertoire

TEXT_LENGTH = 4000  # far beyond what we write; UT itself has no practical limit


@lru_cache(maxsize=1024)
def _head(relationship: str, value_type: str, name: Code) -> bytes:
    return b"".join((
        element("RelationshipType", relationship),
        element("ValueType", value_type),
        sequence("ConceptNameCodeSequence", [code_item(name)]),
    ))  # fmt: skip


@lru_cache(maxsize=1024)
def code(relationship: str, name: Code, value: Code) -> bytes:
    return code_of_item(relationship, name, code_item(value))


def code_of_item(relationship: str, name: Code, value: bytes) -> bytes:
    """A CODE whose concept is encoded already."""
    return item(_head(relationship, "CODE", name), sequence("ConceptCodeSequence", [value]))


@lru_cache(maxsize=1024)
def text(relationship: str, name: Code, value: str, repertoire: Repertoire = ASCII) -> bytes:
    """A TEXT; lines of `value` stay lines, and keep the characters that the object's repertoire has."""
    lines = b"\r\n".join(repertoire.encode(line, TEXT_LENGTH) for line in value.splitlines())
    return item(_head(relationship, "TEXT", name), element("TextValue", lines or b"-"))


def uidref(relationship: str, name: Code, uid: str) -> bytes:
    return item(_head(relationship, "UIDREF", name), element("UID", uid))


def date(relationship: str, name: Code, value: bytes) -> bytes:
    return item(_head(relationship, "DATE", name), element("Date", value))


def image(relationship: str, name: Code, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    return image_of_item(relationship, name, sop_reference(sop_class_uid, sop_instance_uid))


def image_of_item(relationship: str, name: Code, reference: bytes) -> bytes:
    """An IMAGE whose reference is encoded already."""
    return item(sequence("ReferencedSOPSequence", [reference]), _head(relationship, "IMAGE", name))


def number(relationship: str, name: Code, value: str, unit: Code, children: Iterable[bytes]) -> bytes:
    measured = item(sequence("MeasurementUnitsCodeSequence", [code_item(unit)]), element("NumericValue", value))
    below = b"".join(children)
    return item(
        _head(relationship, "NUM", name),
        sequence("MeasuredValueSequence", [measured]),
        sequence("ContentSequence", [below]) if below else b"",
    )


def container(relationship: str, name: Code, children: Iterable[bytes], template: str = "") -> bytes:
    """A CONTAINER; SEPARATE, because viewers drop the concept names of CONTINUOUS ones."""
    return item(
        _head(relationship, "CONTAINER", name),
        element("ContinuityOfContent", "SEPARATE"),
        sequence("ContentTemplateSequence", [template_item(template)]) if template else b"",
        sequence("ContentSequence", children),
    )


@lru_cache(maxsize=16)
def template_item(identifier: str) -> bytes:
    return item(element("MappingResource", "DCMR"), element("TemplateIdentifier", identifier))


def tid_1204_language(language: str) -> list[bytes]:
    """TID 1204: the language of everything in the report."""
    return [code("HAS CONCEPT MOD", codes.LANGUAGE, codes.language_code(language))]


def tid_1001_observation_context(device_uid: str, name: str, manufacturer: str, serial: str) -> list[bytes]:
    """TID 1001 with 1002 and 1004: who observed, a device; `name` names the model, `serial` its very weights."""
    said = (
        (codes.DEVICE_OBSERVER_NAME, name),
        (codes.DEVICE_OBSERVER_MANUFACTURER, manufacturer),
        (codes.DEVICE_OBSERVER_MODEL_NAME, name),
        (codes.DEVICE_OBSERVER_SERIAL_NUMBER, serial),
    )
    return [
        code("HAS OBS CONTEXT", codes.OBSERVER_TYPE, codes.DEVICE),
        uidref("HAS OBS CONTEXT", codes.DEVICE_OBSERVER_UID, device_uid),
        *(text("HAS OBS CONTEXT", concept, value) for concept, value in said),
    ]


def procedure_reported(encoded: bytes | None) -> list[bytes]:
    """TID 1500 row 5: the procedure of the images, not that of the algorithm; any imaging where they name none."""
    return [code_of_item("HAS CONCEPT MOD", codes.PROCEDURE_REPORTED, encoded or code_item(codes.IMAGING_PROCEDURE))]


def tid_1600_image_library(groups: Sequence[bytes]) -> list[bytes]:
    """TID 1600: the images that the report is about, analysed or not."""
    return [container("CONTAINS", codes.IMAGE_LIBRARY, groups)]


def tid_1602_image_library_group(modality: str, study_date: bytes, images: Iterable[tuple[str, str]]) -> bytes:
    """TID 1600 row 2 with 1602: what a group of images has in common, then the images as (class, instance)."""
    context = []
    if modality in codes.MODALITIES:
        context.append(code("HAS ACQ CONTEXT", codes.MODALITY, codes.MODALITIES[modality]))
    if study_date:
        context.append(date("HAS ACQ CONTEXT", codes.STUDY_DATE, study_date))
    members = (image("CONTAINS", codes.SOURCE, *one) for one in images)
    return container("CONTAINS", codes.IMAGE_LIBRARY_GROUP, [*context, *members])


def tid_4019_algorithm(name: str, version: str, parameters: Iterable[str]) -> list[bytes]:
    """TID 4019: what computed the measurement."""
    return [
        text("HAS CONCEPT MOD", codes.ALGORITHM_NAME, name),
        text("HAS CONCEPT MOD", codes.ALGORITHM_VERSION, version),
        *(text("HAS CONCEPT MOD", codes.ALGORITHM_PARAMETERS, parameter) for parameter in parameters),
    ]


def tid_300_measurements(percent: str, score: int, images: Iterable[tuple[str, str]]) -> list[bytes]:
    """TID 300 with 320, twice: the certainty in percent and the score, and the images that each was inferred from."""
    sources = [image("INFERRED FROM", codes.SOURCE_OF_MEASUREMENT, *one) for one in images]
    return [
        number("CONTAINS", codes.CERTAINTY_OF_FINDING, percent, codes.PERCENT, sources),
        number("CONTAINS", codes.SCORE, str(score), codes.NO_UNITS, sources),
    ]


def tid_1501_measurement_group(
    identifier: bytes,
    tracking_uid: str,
    finding: Code,
    site: Code,
    measured: Sequence[bytes],
    call: str,
    source: tuple[str, str],
) -> bytes:
    """TID 1501: one finding on the image `source` (class, instance), with what was measured, and presence by its call.

    `identifier` is an encoded Tracking Identifier; `measured` holds TID 4019, where it is wanted, and TID 300.
    """
    return container(
        "CONTAINS",
        codes.MEASUREMENT_GROUP,
        [
            identifier,
            uidref("HAS OBS CONTEXT", codes.TRACKING_UNIQUE_IDENTIFIER, tracking_uid),
            code("CONTAINS", codes.FINDING, finding),
            code("HAS CONCEPT MOD", codes.FINDING_SITE, site),
            *measured,
            code("CONTAINS", codes.PRESENCE, codes.CALLS[call]),
            image("CONTAINS", codes.SOURCE_OF_MEASUREMENT, *source),
        ],
    )


def imaging_measurements(groups: Sequence[bytes]) -> list[bytes]:
    """TID 1500 row 6; left out where nothing was measured."""
    return [container("CONTAINS", codes.IMAGING_MEASUREMENTS, groups)] if groups else []


def qualitative_evaluations(processing: Code, texts: Iterable[bytes]) -> list[bytes]:
    """TID 1500 row 12: CODE and TEXT only (rows 13, 14), so numbers stand in the measurement groups."""
    content = [code("CONTAINS", codes.PROCESSING_SUMMARY, processing), *texts]
    return [container("CONTAINS", codes.QUALITATIVE_EVALUATIONS, content)]
