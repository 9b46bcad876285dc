"""The rejection note: it asks an archive to hide results that a newer one replaces (IHE IOCM, PS3.16 TID 2010).

It is a Key Object Selection Document (PS3.3 A.35.4) that names the replaced objects. Its title is the reason: the wrong
patient or study where a header was corrected, else quality. An archive that does not know rejection notes keeps it as
any other key object selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import Analysis, Encoded, PredecessorRef, ResultKind
from dicom_io.composite.encode import element, item, sequence
from dicom_io.composite.evidence import hierarchy
from dicom_io.composite.macros import code_item, sop_reference
from dicom_io.composite.repertoire import repertoire
from dicom_io.identity import MANUFACTURER, derived_uid
from dicom_io.results import references
from dicom_io.results import templates as tid
from dicom_io.results.language import Language

SERIES_NUMBER = 9951
SOP_CLASS = str(KeyObjectSelectionDocumentStorage)


@dataclass(frozen=True)
class RejectionOptions:
    """What a destination asks for."""

    language: str = "en-US"


def rejection_note(analysis: Analysis, options: RejectionOptions, rejected: Sequence[PredecessorRef]) -> Encoded:
    """The note on the objects `rejected`, at least one, which `analysis` replaces, in Explicit VR Little Endian.

    The same objects rejected for the same reason give the same UID.
    """
    source, started = analysis.images[0].dataset, analysis.started
    corrected = analysis.replaces is not None and analysis.replaces.corrected
    title = codes.INCORRECT_WORKLIST_ENTRY if corrected else codes.REJECTED_FOR_QUALITY
    names = sorted(one.sop_instance_uid for one in rejected)
    uid = derived_uid("rejection note", title.value, options.language, *names)
    said = Language.of(options.language).say("AI: earlier results rejected")
    day, time = iod.day_and_time(started, source)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("KO", iod.series_number(SERIES_NUMBER, analysis.revision), uid, said, started, source),
        "ReferencedPerformedProcedureStepSequence": sequence("ReferencedPerformedProcedureStepSequence"),
        **iod.equipment(analysis.model, started, source),
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "CurrentRequestedProcedureEvidenceSequence": sequence(
            "CurrentRequestedProcedureEvidenceSequence", [_evidence(rejected, source)]
        ),
        **_content(analysis, title, options, rejected),
        **iod.sop_common(SOP_CLASS, uid, started, source),
    }
    if requests := copying.referenced_requests(source):
        elements["ReferencedRequestSequence"] = sequence("ReferencedRequestSequence", requests)
    return Encoded(SOP_CLASS, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _evidence(rejected: Sequence[PredecessorRef], source: Dataset) -> bytes:
    series: dict[str, list[bytes]] = {}
    for one in rejected:
        members = series.setdefault(one.series_instance_uid, [])
        members.append(sop_reference(one.sop_class_uid, one.sop_instance_uid))
    return hierarchy(copying.study_instance_uid(source), series)


def _content(
    analysis: Analysis, title: codes.Code, options: RejectionOptions, rejected: Sequence[PredecessorRef]
) -> dict[str, bytes]:
    """SR Document Content: TID 2010, its rows in their order."""
    source, model = analysis.images[0].dataset, analysis.model
    modifiers = [codes.OTHER_FAILURE] if title == codes.REJECTED_FOR_QUALITY else []
    content = [
        *tid.tid_1204_language(options.language),
        *(tid.code("HAS CONCEPT MOD", codes.DOCUMENT_TITLE_MODIFIER, one) for one in modifiers),
        *tid.tid_1001_observation_context(model.device_uid, model.name, MANUFACTURER, iod.serial_number(model)),
        tid.text("CONTAINS", codes.KEY_OBJECT_DESCRIPTION, _why(analysis.started, options, source), repertoire(source)),
        *(_named(one) for one in rejected),
    ]
    return {
        "ValueType": element("ValueType", "CONTAINER"),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence", [code_item(title)]),
        "ContinuityOfContent": element("ContinuityOfContent", "SEPARATE"),
        "ContentTemplateSequence": sequence("ContentTemplateSequence", [tid.template_item("2010")]),
        "ContentSequence": sequence("ContentSequence", content),
    }


def _why(started: datetime, options: RejectionOptions, source: Dataset) -> str:
    language = Language.of(options.language)
    return language.say(
        "Replaced by the AI result of {time}.", time=language.day_and_time(iod.in_zone(started, source))
    )


def _named(one: PredecessorRef) -> bytes:
    """An IMAGE for a page, a COMPOSITE for every other object; neither has a concept name in TID 2010."""
    value_type = "IMAGE" if one.sop_class_uid == references.PAGE_CLASS else "COMPOSITE"
    return item(
        sequence("ReferencedSOPSequence", [sop_reference(one.sop_class_uid, one.sop_instance_uid)]),
        element("RelationshipType", "CONTAINS"),
        element("ValueType", value_type),
    )


def _make(analysis: Analysis, options: RejectionOptions, rejected: Sequence[PredecessorRef]) -> list[Encoded]:
    return [rejection_note(analysis, options, rejected)] if rejected else []


KIND = ResultKind((SOP_CLASS,), RejectionOptions, _make, rejects=True)
