"""The Structured Report: what the model says about the radiographs of a study, as one DICOM object (PS3.3 A.35).

The tree is TID 1500 Measurement Report. A finding has a measurement group on each image where it is above or near its
threshold; a text gives the numbers of all. The summary stands where TID 1500 has it, among the qualitative evaluations,
under the standard's title; under our own title, which people read, it is the first thing in the report. Images that
were not analysed are in the report with their reason, so that the absence of a result is never read as a negative one;
and no report ever calls a radiograph normal, or a finding absent.

The SOP Instance UID depends on the images, the model, the thresholds, the results and what the destination asks for,
and on nothing else: the same analysis done twice is the same report.
"""

from collections.abc import Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    FindingResult,
    ModelIdentity,
    Pathology,
    PredecessorRef,
    Replaced,
    ReportError,
    ResultKind,
    SourceImage,
    check_analysis,
    percent,
)
from dicom_io.composite.codes import ANY_FINDING, Code, CodedFinding, coded
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import evidence, reference
from dicom_io.composite.macros import code_item
from dicom_io.composite.options import ReportOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.composite.structures import COUNT
from dicom_io.identity import MANUFACTURER, derived_uid
from dicom_io.results import references, wording
from dicom_io.results import templates as tid
from dicom_io.results.caption import caption
from dicom_io.results.language import Language
from dicom_io.results.outlines.measurements import measurement_groups
from dicom_io.results.references import SOP_CLASSES

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

SERIES_NUMBER = 9901


def structured_report(
    images: Sequence[SourceImage],
    model: ModelIdentity,
    options: ReportOptions,
    predecessors: Sequence[PredecessorRef | str],
    started: datetime,
    revision: int = 1,
    replaces: Replaced | None = None,
) -> Encoded:
    """The report on `images`, which belong to one study, encoded in Explicit VR Little Endian.

    `predecessors` are earlier reports on the study, newest last: those that the destination has; one given by its SOP
    Instance UID alone is of the same SOP class as this. Patient and study are copied from the first image by the rule
    of `copying`; no header makes it fail. `started` is when the analysis began, aware; it is written in the zone that
    the first image states, else in its own. `revision` and `replaces` are as in `Analysis`.
    Raises ReportError for no images, a naive time or a probability outside 0..1, UnknownFinding for a finding without
    a coded concept.
    """
    check_analysis(images, started)
    source = images[0].dataset
    sop_class_uid = SOP_CLASSES[options.sr_class]
    sop_instance_uid = references.report_uid(images, model, options)
    said = caption(images, model, options, revision)
    elements = {
        **copying.patient_and_study(source),
        **_series(iod.series_number(SERIES_NUMBER, revision), sop_instance_uid, said, started, source),
        **iod.equipment(model, started, source),
        **_document(images, model, options, started),
        **references.predecessors(predecessors, sop_class_uid, sop_instance_uid, source),
        **_content(images, model, options, replaces),
        **iod.sop_common(sop_class_uid, sop_instance_uid, started, source, _codes_used(images, options)),
    }
    return Encoded(sop_class_uid, sop_instance_uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _codes_used(images: Sequence[SourceImage], options: ReportOptions) -> tuple[Code, ...]:
    found = [coded(result.finding).code for image in images for result in image.findings if result.call != "below"]
    overall = [codes.PATHOLOGY for image in images if image.pathology and image.pathology.call != "below"]
    scores = [codes.SCORE] if found or overall else []
    outlined = [COUNT for image in images if image.outlined]
    return (codes.TITLES[options.sr_title], *found, *overall, *scores, *outlined)


def _series(number: int, sop_instance_uid: str, said: str, started: datetime, source: Dataset) -> dict[str, bytes]:
    """SR Document Series, PS3.3 C.17.1; the procedure step of the images is not ours, so it stays empty."""
    elements = iod.series("SR", number, sop_instance_uid, said, started, source)
    return elements | {"ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence")}


def _document(
    images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions, started: datetime
) -> dict[str, bytes]:
    """SR Document General, PS3.3 C.17.2; Content Date and Time are those of the analysis (IHE AIR)."""
    source = images[0].dataset
    day, time = iod.day_and_time(started, source)
    others = references.pages_by_series(images, model, options)
    others |= references.segmentations_by_series(images, model, options)
    elements = {
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "ContentQualification": element("ContentQualification", "RESEARCH"),
        "CompletionFlag": element("CompletionFlag", "COMPLETE"),
        "VerificationFlag": element("VerificationFlag", "UNVERIFIED"),
        "PreliminaryFlag": element("PreliminaryFlag", "PRELIMINARY"),
        "PerformedProcedureCodeSequence": sequence("PerformedProcedureCodeSequence"),
        "CurrentRequestedProcedureEvidenceSequence": sequence(
            "CurrentRequestedProcedureEvidenceSequence", evidence(images, others)
        ),
    }
    if requests := copying.referenced_requests(source):
        elements["ReferencedRequestSequence"] = sequence("ReferencedRequestSequence", requests)
    return elements


def _content(
    images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions, replaces: Replaced | None
) -> dict[str, bytes]:
    """SR Document Content, PS3.3 C.17.3: TID 1500, its rows in their order, and under our title the summary before."""
    source, language, standard = images[0].dataset, Language.of(options.language), _is_standard(options)
    written = repertoire(source)
    lines = wording.summary(images, model, language, iod.replaced_in_zone(replaces, source))
    summary = tid.text("CONTAINS", codes.SUMMARY, "\n".join(lines), written)
    said = [*wording.scores(images, language), *wording.comments(images, model, language)]
    comments = [tid.text("CONTAINS", codes.COMMENT, line, written) for line in said]
    content = [
        *tid.tid_1204_language(options.language),
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        *tid.procedure_reported(copying.procedure(source)),
        *([] if standard else [summary]),
        *tid.tid_1600_image_library(_library_groups(images)),
        *tid.imaging_measurements(_measurement_groups(images, model, options)),
        *tid.qualitative_evaluations(wording.processing(images), [*([summary] if standard else []), *comments]),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [code_item(codes.TITLES[options.sr_title])]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("1500")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _is_standard(options: ReportOptions) -> bool:
    """Whether the report is for programs that take TID 1500 to the letter."""
    return options.sr_title == "imaging-measurement-report"


def _library_groups(images: Sequence[SourceImage]) -> list[bytes]:
    groups: dict[tuple[str, bytes], list[tuple[str, str]]] = {}
    for image in images:
        modality = copying.text(image.dataset, "Modality")
        groups.setdefault((modality, copying.study_date(image.dataset)), []).append(reference(image))
    return [tid.tid_1602_image_library_group(*shared, members) for shared, members in groups.items()]


def _measurement_groups(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions) -> list[bytes]:
    """For each image whether anything is seen, then its findings: those above and near threshold, the strongest first.

    A group that programs read has the algorithm with the threshold, and the image under each number.
    """
    groups = []
    for image in images:
        found = [(coded(result.finding), result) for result in wording.ranked(image.findings)]
        results: list[tuple[CodedFinding, FindingResult | Pathology]] = [*found]
        if image.pathology:
            results.insert(0, (ANY_FINDING, image.pathology))
        groups += [_group(image, *one, model, options) for one in results if one[1].call != "below"]
        groups += measurement_groups(image, model, options)
    return groups


def _group(
    image: SourceImage,
    finding: CodedFinding,
    result: FindingResult | Pathology,
    model: ModelIdentity,
    options: ReportOptions,
) -> bytes:
    place, standard = reference(image), _is_standard(options)
    name = Language.of(options.language).say(finding.display)
    return tid.tid_1501_measurement_group(
        tid.text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, name, repertoire(image.dataset)),
        derived_uid("tracking", place[1], finding.display),
        finding.code,
        finding.site,
        [
            *(_algorithm(model, result.threshold) if standard else []),
            *tid.tid_300_measurements(percent(result.probability), result.score, [place] if standard else []),
        ],
        result.call,
        place,
    )


def _algorithm(model: ModelIdentity, threshold: float | None) -> list[bytes]:
    parameters = [] if threshold is None else [f"operating_threshold={threshold:.3f}"]
    if not model.trained:
        parameters.append("trained=no (UNTRAINED weights)")
    return tid.tid_4019_algorithm(model.name, model.version, parameters)


def _make(analysis: Analysis, options: ReportOptions, earlier: Sequence[PredecessorRef]) -> list[Encoded]:
    made_of = analysis.images, analysis.model, options, earlier, analysis.started
    return [structured_report(*made_of, analysis.revision, analysis.replaces)]


KIND = ResultKind(tuple(SOP_CLASSES.values()), ReportOptions, _make)
