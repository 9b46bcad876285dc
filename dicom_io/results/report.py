"""The Structured Report: what the model says about the radiographs of a study, as one DICOM object (PS3.3 A.35).

The tree is TID 1500 Measurement Report: a measurement group for each finding and image, then the qualitative
evaluations with a summary over the images. A finding that the model does not assess has no group and is named in the
summary. Images that could not be analysed are in the report with their reason, so
that the absence of a result is never read as a negative one; and no report ever calls a radiograph normal.

The SOP Instance UID depends on the images, the model, the thresholds, the results, the SOP class and the title, and on
nothing else: the same analysis done twice is the same report.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage, ExplicitVRLittleEndian

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    FindingResult,
    ModelIdentity,
    Pathology,
    PredecessorRef,
    ReportError,
    ReportOptions,
    ResultKind,
    SourceImage,
    check_analysis,
    percent,
    result_uid,
    series_uid,
)
from dicom_io.composite.codes import Code, coded
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import evidence, hierarchy, reference
from dicom_io.composite.macros import code_item, sop_reference
from dicom_io.identity import MANUFACTURER, derived_uid
from dicom_io.results import templates as tid
from dicom_io.results import wording

__all__ = [
    "SOP_CLASSES",
    "Encoded",
    "FindingResult",
    "ModelIdentity",
    "Pathology",
    "PredecessorRef",
    "ReportError",
    "ReportOptions",
    "SourceImage",
    "structured_report",
]

SERIES_NUMBER = "9901"
SOP_CLASSES = {
    "comprehensive-3d": str(Comprehensive3DSRStorage),
    "comprehensive": str(ComprehensiveSRStorage),
    "enhanced": str(EnhancedSRStorage),
}


def structured_report(
    images: Sequence[SourceImage],
    model: ModelIdentity,
    options: ReportOptions,
    predecessors: Sequence[PredecessorRef | str],
    started: datetime,
) -> Encoded:
    """The report on `images`, which belong to one study, encoded in Explicit VR Little Endian.

    `predecessors` are earlier reports on the study, newest last: those that the destination has; one given by its SOP
    Instance UID alone is of the same SOP class as this. Patient and study are copied from the first image by the rule
    of `copying`; no header makes it fail. `started` is when the analysis began, aware; it is written in the zone that
    the first image states, else in its own.
    Raises ReportError for no images, a naive time or a probability outside 0..1, UnknownFinding for a finding without
    a coded concept.
    """
    check_analysis(images, started)
    source = images[0].dataset
    sop_class_uid = SOP_CLASSES[options.sr_class]
    sop_instance_uid = result_uid("report", images, model, sop_class_uid, options.sr_title, options.language)
    elements = {
        **copying.patient_and_study(source),
        **_series(sop_instance_uid, model, started, source),
        **iod.equipment(model, started, source),
        **_document(images, started),
        **_predecessors(predecessors, sop_class_uid, sop_instance_uid, source),
        **_content(images, model, options),
        **iod.sop_common(sop_class_uid, sop_instance_uid, started, source, _codes_used(images, options)),
    }
    return Encoded(sop_class_uid, sop_instance_uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _codes_used(images: Sequence[SourceImage], options: ReportOptions) -> tuple[Code, ...]:
    found = [coded(result.finding).code for image in images for result in image.findings]
    overall = [codes.PATHOLOGY for image in images if image.pathology]
    scores = [codes.SCORE] if found or overall else []
    return (codes.TITLES[options.sr_title], *found, *overall, *scores)


def _series(sop_instance_uid: str, model: ModelIdentity, started: datetime, source: Dataset) -> dict[str, bytes]:
    """SR Document Series, PS3.3 C.17.1; the procedure step of the images is not ours, so it stays empty."""
    elements = iod.series("SR", SERIES_NUMBER, sop_instance_uid, model, started, source)
    return elements | {"ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence")}


def _document(images: Sequence[SourceImage], started: datetime) -> dict[str, bytes]:
    """SR Document General, PS3.3 C.17.2; Content Date and Time are those of the analysis (IHE AIR)."""
    source = images[0].dataset
    day, time = iod.day_and_time(started, source)
    elements = {
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "ContentQualification": element("ContentQualification", "RESEARCH"),
        "CompletionFlag": element("CompletionFlag", "COMPLETE"),
        "VerificationFlag": element("VerificationFlag", "UNVERIFIED"),
        "PreliminaryFlag": element("PreliminaryFlag", "PRELIMINARY"),
        "PerformedProcedureCodeSequence": sequence("PerformedProcedureCodeSequence"),
        "CurrentRequestedProcedureEvidenceSequence": sequence(
            "CurrentRequestedProcedureEvidenceSequence", evidence(images)
        ),
    }
    if requests := copying.referenced_requests(source):
        elements["ReferencedRequestSequence"] = sequence("ReferencedRequestSequence", requests)
    return elements


def _predecessors(
    earlier: Iterable[PredecessorRef | str], sop_class_uid: str, sop_instance_uid: str, source: Dataset
) -> dict[str, bytes]:
    """Predecessor Documents Sequence (0040,A360): the earlier reports, each in the series that follows from it."""
    named = [one if isinstance(one, PredecessorRef) else PredecessorRef(sop_class_uid, one) for one in earlier]
    series = {
        series_uid(one.sop_instance_uid): [sop_reference(one.sop_class_uid, one.sop_instance_uid)]
        for one in named
        if one.sop_instance_uid != sop_instance_uid  # the same analysis done again is no predecessor of itself
    }
    if not series:
        return {}
    earlier_documents = hierarchy(copying.study_instance_uid(source), series)
    return {"PredecessorDocumentsSequence": sequence("PredecessorDocumentsSequence", [earlier_documents])}


def _content(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions) -> dict[str, bytes]:
    """SR Document Content, PS3.3 C.17.3: TID 1500, its rows in their order."""
    content = [
        *tid.tid_1204_language(options.language),
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        *tid.procedure_reported(copying.procedure(images[0].dataset)),
        *tid.tid_1600_image_library(_library_groups(images)),
        *tid.imaging_measurements(_measurement_groups(images, model)),
        *tid.qualitative_evaluations(
            wording.processing(images), wording.summary(images), wording.comments(images, model)
        ),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [code_item(codes.TITLES[options.sr_title])]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("1500")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _library_groups(images: Sequence[SourceImage]) -> list[bytes]:
    groups: dict[tuple[str, bytes], list[tuple[str, str]]] = {}
    for image in images:
        modality = copying.text(image.dataset, "Modality")
        groups.setdefault((modality, copying.study_date(image.dataset)), []).append(reference(image))
    return [tid.tid_1602_image_library_group(*shared, members) for shared, members in groups.items()]


def _measurement_groups(images: Sequence[SourceImage], model: ModelIdentity) -> list[bytes]:
    """For each image whether anything is seen, where the model says that, then its findings, the strongest first."""
    groups = []
    for image in images:
        source = reference(image)
        if image.pathology:
            groups.append(_pathology_group(source, image.pathology, model))
        groups += [_finding_group(source, result, model) for result in wording.ranked(image.findings)]
    return groups


def _finding_group(reference: tuple[str, str], result: FindingResult, model: ModelIdentity) -> bytes:
    finding = coded(result.finding)
    return tid.tid_1501_measurement_group(
        finding.display,
        derived_uid("tracking", reference[1], finding.display),
        finding.code,
        finding.site,
        _algorithm(model, result.finding, result.threshold),
        percent(result.probability),
        result.score,
        result.call,
        [reference],
    )


def _pathology_group(reference: tuple[str, str], pathology: Pathology, model: ModelIdentity) -> bytes:
    return tid.tid_1501_measurement_group(
        codes.PATHOLOGY.meaning,
        derived_uid("tracking", reference[1], codes.PATHOLOGY.meaning),
        codes.PATHOLOGY,
        codes.CHEST,
        _algorithm(model, codes.PATHOLOGY.meaning, pathology.threshold),
        percent(pathology.probability),
        pathology.score,
        pathology.call,
        [reference],
    )


def _algorithm(model: ModelIdentity, class_name: str, threshold: float | None) -> list[bytes]:
    parameters = [f"weights={model.digest}", f"class={class_name}"]
    if threshold is not None:
        parameters.append(f"operating_threshold={threshold:.3f}")
    if not model.trained:
        parameters.append("trained=no (UNTRAINED weights)")
    return tid.tid_4019_algorithm(model.name, model.version, parameters)


def _make(analysis: Analysis, options: ReportOptions, earlier: Sequence[PredecessorRef]) -> list[Encoded]:
    return [structured_report(analysis.images, analysis.model, options, earlier, analysis.started)]


KIND = ResultKind(tuple(SOP_CLASSES.values()), ReportOptions, _make)
