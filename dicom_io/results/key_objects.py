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
    PredecessorRef,
    ResultKind,
    SourceImage,
    check_analysis,
    result_uid,
)
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import evidence, reference
from dicom_io.composite.located import is_above
from dicom_io.composite.macros import code_item
from dicom_io.composite.options import READING, ReadingOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.identity import MANUFACTURER
from dicom_io.results import templates as tid
from dicom_io.results import wording
from dicom_io.results.caption import caption
from dicom_io.results.language import Language

SERIES_NUMBER = 9931


def key_objects(analysis: Analysis, options: ReadingOptions = READING) -> Encoded | None:
    """The selection from the images of an analysis, encoded in Explicit VR Little Endian.

    None where nothing is above its threshold. The same analysis gives the same UID; patient and study are copied as for
    the report. Raises as `structured_report` does.
    """
    images, model, started = analysis.images, analysis.model, analysis.started
    check_analysis(images, started)
    chosen = [image for image in images if is_above(image)]
    if not chosen:
        return None
    source, class_uid = images[0].dataset, str(KeyObjectSelectionDocumentStorage)
    uid = result_uid("key objects", images, model, *options.parts)
    said = caption(images, model, options, analysis.revision)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("KO", iod.series_number(SERIES_NUMBER, analysis.revision), uid, said, started, source),
        "ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence"),
        **iod.equipment(model, started, source),
        **_document(chosen, started, source),
        **_content(analysis, chosen, options),
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


def _content(analysis: Analysis, chosen: Sequence[SourceImage], options: ReadingOptions) -> dict[str, bytes]:
    """SR Document Content, PS3.3 C.17.3: TID 2010, its rows in their order."""
    model, language, source = analysis.model, Language.of(options.language), analysis.images[0].dataset
    untrained = [] if model.trained else [wording.untrained(language)]
    description = "\n".join([*untrained, wording.headline(chosen, language), wording.disclaimer(language)])
    content = [
        *tid.tid_1204_language(options.language),
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        tid.text("CONTAINS", codes.KEY_OBJECT_DESCRIPTION, description, repertoire(source)),
        *(tid.image("CONTAINS", codes.SOURCE, *reference(image)) for image in chosen),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [code_item(codes.OF_INTEREST)]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("2010")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _make(analysis: Analysis, options: ReadingOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    if made := key_objects(analysis, options):
        yield made


KIND = ResultKind((str(KeyObjectSelectionDocumentStorage),), ReadingOptions, _make)
