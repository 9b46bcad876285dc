"""The Key Object Selection (PS3.3 A.35.4): the images on which something is above its threshold, "Of Interest".

A viewer shows these images first, or marks them. A study on which nothing is above its threshold gets none: the absence
of a selection says nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    ModelIdentity,
    NoOptions,
    PredecessorRef,
    ResultKind,
    SourceImage,
    above,
    check_analysis,
    result_uid,
)
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import evidence, reference
from dicom_io.composite.macros import code_item
from dicom_io.identity import MANUFACTURER
from dicom_io.results import templates as tid
from dicom_io.results import wording

SERIES_NUMBER = "9931"


def key_objects(images: Sequence[SourceImage], model: ModelIdentity, started: datetime) -> Encoded | None:
    """The selection from `images`, which belong to one study, encoded in Explicit VR Little Endian.

    None where nothing is above its threshold. The same analysis gives the same UID; patient and study are copied as for
    the report. Raises as `structured_report` does.
    """
    check_analysis(images, started)
    chosen = [image for image in images if above(image)]
    if not chosen:
        return None
    source, class_uid = images[0].dataset, str(KeyObjectSelectionDocumentStorage)
    uid = result_uid("key objects", images, model)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("KO", SERIES_NUMBER, uid, model, started, source),
        "ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence"),
        **iod.equipment(model, started, source),
        **_document(chosen, started, source),
        **_content(chosen, model),
        **iod.sop_common(class_uid, uid, started, source),
    }
    return Encoded(class_uid, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _document(chosen: Sequence[SourceImage], started: datetime, source: Dataset) -> dict[str, bytes]:
    """Key Object Document, PS3.3 C.17.6.2."""
    day, time = iod.day_and_time(started, source)
    elements = {
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "CurrentRequestedProcedureEvidenceSequence": sequence(
            "CurrentRequestedProcedureEvidenceSequence", evidence(chosen)
        ),
    }
    if requests := copying.referenced_requests(source):
        elements["ReferencedRequestSequence"] = sequence("ReferencedRequestSequence", requests)
    return elements


def _content(chosen: Sequence[SourceImage], model: ModelIdentity) -> dict[str, bytes]:
    """SR Document Content, PS3.3 C.17.3: TID 2010, its rows in their order."""
    description = [*([iod.UNTRAINED] if not model.trained else []), wording.headline(chosen), f"{iod.DISCLAIMER}."]
    content = [
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        tid.text("CONTAINS", codes.KEY_OBJECT_DESCRIPTION, "\n".join(description)),
        *(tid.image("CONTAINS", codes.SOURCE, *reference(image)) for image in chosen),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [code_item(codes.OF_INTEREST)]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("2010")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _make(analysis: Analysis, _options: NoOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    if made := key_objects(analysis.images, analysis.model, analysis.started):
        yield made


KIND = ResultKind((str(KeyObjectSelectionDocumentStorage),), NoOptions, _make)
