"""Turns the values of one leaf package into those of another, field by field. The leaves do not know each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from config.sections import DestinationSettings, SelectSettings
from dicom_io.composite.analysis import (
    Call,
    Encoded,
    FindingResult,
    Location,
    ModelIdentity,
    Pathology,
    PredecessorRef,
    SourceImage,
)
from dicom_io.image.header import Header
from dicom_io.image.orientation import stored_points
from dicom_io.image.selection import SelectionRules
from dicom_io.image.subject import subject_digest
from dicom_io.services.store_scp import Arrived
from storage.records import EarlierObject, ReceivedObject, ResultObject, Spooled

if TYPE_CHECKING:
    from inference.bundle import Bundle
    from inference.prediction import Prediction
    from inference.serving.location import Located


def received_object(header: Header, arrived: Arrived, spooled: Spooled) -> ReceivedObject:
    """Return what the journal records of a received object."""
    return _received_object(header, arrived.calling_ae_title, arrived.peer_address, spooled, arrived.priority)


def _received_object(
    header: Header, calling_ae_title: str, peer_address: str, spooled: Spooled, priority: int = 1
) -> ReceivedObject:
    return ReceivedObject(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        patient_id=header.patient_id,
        accession_number=header.accession_number,
        study_date=header.study_date,
        modality=header.modality,
        calling_ae_title=calling_ae_title,
        peer_address=peer_address,
        spooled=spooled,
        priority=priority,
    )


def object_of_conflict(header: Header, conflict: Mapping[str, Any]) -> ReceivedObject:
    """Return what the journal records of the other object of a conflict, when a person decides that it counts.

    `conflict` is a row of `Queries.conflict`.
    """
    spooled = Spooled(conflict["spool_name"], conflict["size"], conflict["sha256"])
    return _received_object(header, conflict["calling_ae_title"], conflict["peer_address"], spooled)


def selection_rules(select: SelectSettings) -> SelectionRules:
    """The rules of the configuration, under the same names, as `dicom_io.image.selection` takes them."""
    return SelectionRules(**select.model_dump())


def model_identity(bundle: Bundle) -> ModelIdentity:
    """Return what a report says about the model."""
    return ModelIdentity(name=bundle.name, version=bundle.version, digest=bundle.digest, trained=bundle.trained,
                         evaluated=bundle.evaluated)  # fmt: skip


def finding_results(prediction: Prediction) -> tuple[FindingResult, ...]:
    """Return the findings of one image that are assessed."""
    return tuple(
        FindingResult(f.finding, f.probability, f.threshold, cast(Call, f.call), f.score)
        for f in prediction.findings
        if f.threshold is not None and f.score is not None
    )


def source_image(header: Header, prediction: Prediction | None, reason: str, remark: str = "") -> SourceImage:
    """Return one image of a report. `reason` says why it was not analysed, or is ""; so is `remark`, a sentence."""
    subject = subject_digest(header)
    if prediction is None or not prediction.analysed:
        return SourceImage(header.dataset, (), reason, subject=subject, remark=remark)
    findings = finding_results(prediction)
    named = {result.finding for result in findings}
    others = tuple(f.finding for f in prediction.findings if f.finding not in named)
    return SourceImage(header.dataset, findings, reason, _pathology(prediction), subject, others, remark)


def _pathology(prediction: Prediction) -> Pathology | None:
    overall = prediction.any_finding
    if overall is None or overall.score is None:
        return None
    return Pathology(cast(Call, overall.call), overall.probability, overall.score, overall.threshold)


def location(finding: str, found: Located, header: Header, shape: tuple[int, int]) -> Location:
    """Return where a finding was seen in a picture [rows, columns] of an image, as a result object shows it."""
    rows, columns = shape
    shares = tuple(tuple((x / columns, y / rows) for x, y in polygon) for polygon in found.polygons)
    stored = located_in_file(header, shape, {finding: found})[finding].polygons
    return Location(finding, shares, found.reason, stored)


def located_in_file(header: Header, shape: tuple[int, int], found: Mapping[str, Located]) -> dict[str, Located]:
    """Return the same locations with the polygons in pixels of the file, as they are stored there."""
    return {
        finding: replace(one, polygons=tuple(tuple(stored_points(header, shape, p)) for p in one.polygons))
        for finding, one in found.items()
    }


def predecessors(
    earlier: Sequence[EarlierObject], kind: str, destinations: Sequence[DestinationSettings]
) -> list[PredecessorRef]:
    """Return the earlier objects of this kind that were made for all of these destinations."""
    names = {d.name for d in destinations}
    return [
        PredecessorRef(made.sop_class_uid, made.sop_instance_uid)
        for made in earlier
        if made.kind == kind and names <= made.destinations
    ]


def result_object(kind: str, encoded: Encoded, destinations: Sequence[DestinationSettings]) -> ResultObject:
    """Return what the journal keeps of an encoded object: its bytes, and the destinations that get it."""
    return ResultObject(
        kind=kind,
        sop_class_uid=encoded.sop_class_uid,
        sop_instance_uid=encoded.sop_instance_uid,
        transfer_syntax_uid=encoded.transfer_syntax_uid,
        data=encoded.data,
        destinations=tuple(d.name for d in destinations),
        committing=tuple(d.name for d in destinations if d.commits),
    )


def findings(prediction: Prediction | None) -> list[dict[str, Any]]:
    """Return the findings that the journal keeps as a study's summary, as JSON objects."""
    return list(prediction.to_json("", {})["findings"]) if prediction else []
