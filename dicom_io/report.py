"""The Structured Report: what the model says about the radiographs of a study, as one DICOM object (PS3.3 A.35).

The tree is TID 1500 Measurement Report: a measurement group for each finding and image, then the qualitative
evaluations with a summary over the images. Images that could not be analysed are in the report with their reason, so
that the absence of a result is never read as a negative one; and no report ever calls a radiograph normal.

The SOP Instance UID depends on the images, the model, the thresholds, the results, the SOP class and the title, and on
nothing else: the same analysis done twice is the same report.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage, ExplicitVRLittleEndian

from dicom_io import codes, copying, encode, iod, wording
from dicom_io import templates as tid
from dicom_io.codes import Code, coded
from dicom_io.encode import element, item, plain, sequence
from dicom_io.header import MANUFACTURER
from dicom_io.results import (
    Encoded,
    FindingResult,
    ImageResult,
    ModelIdentity,
    PredecessorRef,
    ReportError,
    ReportOptions,
    Summary,
    check,
    highest,
    percent,
    result_uid,
    series_uid,
)
from dicom_io.uids import derived_uid

__all__ = [
    "SOP_CLASSES",
    "Encoded",
    "FindingResult",
    "ImageResult",
    "ModelIdentity",
    "PredecessorRef",
    "ReportError",
    "ReportOptions",
    "Summary",
    "highest",
    "structured_report",
]

SERIES_NUMBER = "9901"
SOP_CLASSES = {
    "comprehensive-3d": str(Comprehensive3DSRStorage),
    "comprehensive": str(ComprehensiveSRStorage),
    "enhanced": str(EnhancedSRStorage),
}


def structured_report(
    images: Sequence[ImageResult],
    summary: Summary,
    model: ModelIdentity,
    options: ReportOptions,
    predecessors: Sequence[PredecessorRef],
    started: datetime,
) -> Encoded:
    """The report on `images`, which belong to one study, encoded in Explicit VR Little Endian.

    Patient and study are copied from the first image by the rule of `copying`; no header makes it fail. `started` is
    when the analysis began, aware; it is written in the zone that the first image states, else in its own.
    Raises ReportError for no images, a naive time or a probability outside 0..1, UnknownFinding for a finding without
    a coded concept.
    """
    check(images, summary, started)
    source = images[0].header
    sop_class_uid = SOP_CLASSES[options.sr_class]
    sop_instance_uid = result_uid("report", images, summary, model, sop_class_uid, options.sr_title, options.language)
    elements = {
        **copying.patient_and_study(source),
        **_series(sop_instance_uid, model, started, source),
        **iod.equipment(model, options, started, source),
        **_document(images, sop_instance_uid, predecessors, started),
        **_content(images, summary, model, options),
        **iod.sop_common(sop_class_uid, sop_instance_uid, started, source, _codes_used(images, summary, options)),
    }
    return Encoded(sop_class_uid, sop_instance_uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _codes_used(images: Sequence[ImageResult], summary: Summary, options: ReportOptions) -> tuple[Code, ...]:
    found = [coded(result.finding).code for image in images for result in image.findings]
    overall = [codes.PATHOLOGY] if summary.pathology_probability is not None else []
    return (codes.TITLES[options.sr_title], *found, *overall)


def _series(sop_instance_uid: str, model: ModelIdentity, started: datetime, source: Dataset) -> dict[str, bytes]:
    """SR Document Series, PS3.3 C.17.1; the procedure step of the images is not ours, so it stays empty."""
    elements = iod.series("SR", SERIES_NUMBER, sop_instance_uid, model, started, source)
    return elements | {"ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence")}


def _document(
    images: Sequence[ImageResult], sop_instance_uid: str, predecessors: Sequence[PredecessorRef], started: datetime
) -> dict[str, bytes]:
    """SR Document General, PS3.3 C.17.2; Content Date and Time are those of the analysis (IHE AIR)."""
    source = images[0].header
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
            "CurrentRequestedProcedureEvidenceSequence", _evidence(images)
        ),
    }
    if requests := copying.referenced_requests(source):
        elements["ReferencedRequestSequence"] = sequence("ReferencedRequestSequence", requests)
    if earlier := [one for one in predecessors if one.sop_instance_uid != sop_instance_uid]:
        elements["PredecessorDocumentsSequence"] = sequence(
            "PredecessorDocumentsSequence", _predecessors(earlier, copying.study_instance_uid(source))
        )
    return elements


def _evidence(images: Sequence[ImageResult]) -> list[bytes]:
    """Every image that the report refers to, by study and series (PS3.3 C.17.2.1)."""
    studies: dict[str, dict[str, list[bytes]]] = {}
    for image in images:
        study = studies.setdefault(copying.study_instance_uid(image.header), {})
        study.setdefault(copying.series_instance_uid(image.header), []).append(tid.sop_reference(*_reference(image)))
    return [_hierarchy(study, series) for study, series in studies.items()]


def _predecessors(earlier: Iterable[PredecessorRef], study: str) -> list[bytes]:
    """The earlier reports, newest last; ours have a series each, which follows from the report."""
    series = {
        series_uid(one.sop_instance_uid): [tid.sop_reference(one.sop_class_uid, one.sop_instance_uid)]
        for one in earlier
    }
    return [_hierarchy(study, series)]


def _hierarchy(study: str, series: dict[str, list[bytes]]) -> bytes:
    """Hierarchical SOP Instance Reference, PS3.3 C.17.2.1."""
    members = [
        item(sequence("ReferencedSOPSequence", references), element("SeriesInstanceUID", uid))
        for uid, references in series.items()
    ]
    return item(sequence("ReferencedSeriesSequence", members), element("StudyInstanceUID", study))


def _reference(image: ImageResult) -> tuple[str, str]:
    """SOP class and instance of an image."""
    return copying.sop_class_uid(image.header), copying.sop_instance_uid(image.header)


def _content(
    images: Sequence[ImageResult], summary: Summary, model: ModelIdentity, options: ReportOptions
) -> dict[str, bytes]:
    """SR Document Content, PS3.3 C.17.3: TID 1500, its rows in their order."""
    content = [
        *tid.tid_1204_language(options.language),
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        *tid.procedure_reported(copying.procedure(images[0].header)),
        *tid.tid_1600_image_library(_library_groups(images)),
        *tid.imaging_measurements(_measurement_groups(images, summary, model)),
        *tid.qualitative_evaluations(
            wording.processing(images, summary), wording.summary(images, summary), wording.comments(images, model)
        ),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [tid.code_item(codes.TITLES[options.sr_title])]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("1500")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _library_groups(images: Sequence[ImageResult]) -> list[bytes]:
    groups: dict[tuple[str, bytes], list[tuple[str, str]]] = {}
    for image in images:
        modality = copying.text(image.header, "Modality")
        groups.setdefault((modality, copying.study_date(image.header)), []).append(_reference(image))
    return [tid.tid_1602_image_library_group(*shared, members) for shared, members in groups.items()]


def _measurement_groups(images: Sequence[ImageResult], summary: Summary, model: ModelIdentity) -> list[bytes]:
    """Whether anything is seen, where the model says that, then each image's findings, the most probable first."""
    analysed = [image for image in images if not image.reason]
    groups = []
    if summary.pathology_probability is not None and analysed:
        groups.append(_pathology_group([_reference(image) for image in analysed], summary, model))
    for image in analysed:
        reference = _reference(image)
        groups += [_finding_group(reference, result, model) for result in wording.ranked(image.findings)]
    return groups


def _finding_group(reference: tuple[str, str], result: FindingResult, model: ModelIdentity) -> bytes:
    finding = coded(result.finding)
    tracking_uid = derived_uid("tracking", reference[1], finding.display)
    return tid.tid_1501_measurement_group(
        finding.display, tracking_uid, finding.code, finding.site,
        _algorithm(model, plain(result.finding, 64), result.threshold),
        percent(result.probability), result.call, [reference],
    )  # fmt: skip


def _pathology_group(references: list[tuple[str, str]], summary: Summary, model: ModelIdentity) -> bytes:
    call = {True: "present", False: "absent", None: "undetermined"}[summary.pathology]
    tracking_uid = derived_uid("tracking", *(uid for _, uid in references), codes.PATHOLOGY.value)
    return tid.tid_1501_measurement_group(
        codes.PATHOLOGY.meaning, tracking_uid, codes.PATHOLOGY, codes.CHEST,
        _algorithm(model, codes.PATHOLOGY.meaning, summary.pathology_threshold),
        percent(summary.pathology_probability or 0.0), call, references,
    )  # fmt: skip


def _algorithm(model: ModelIdentity, class_name: str, threshold: float | None) -> list[bytes]:
    parameters = [f"weights={model.digest}", f"class={class_name}"]
    if threshold is not None:
        parameters.append(f"operating_threshold={threshold:.3f}")
    if not model.trained:
        parameters.append("trained=no (UNTRAINED weights)")
    return tid.tid_4019_algorithm(model.name, model.version, parameters)
