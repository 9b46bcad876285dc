"""Turns the values of one leaf package into those of another, field by field. The leaves do not know each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from config.models import ModelSettings
from config.sections import DestinationSettings, SelectSettings
from daemon.decisions import CannotWork
from dicom_io.composite.analysis import (
    Analysis,
    Call,
    Encoded,
    FindingResult,
    Location,
    ModelIdentity,
    Pathology,
    PredecessorRef,
    Replaced,
    Side,
    SourceImage,
)
from dicom_io.composite.structures import OutlinedStructure, Plane
from dicom_io.image.header import Header
from dicom_io.image.orientation import Side as StatedSide
from dicom_io.image.orientation import orientation, reduction, stored_mask, stored_points
from dicom_io.image.selection import SelectionRules, projection, stated_view
from dicom_io.image.spacing import spacing
from dicom_io.image.subject import subject_digest
from dicom_io.radiographs import radiograph_class
from dicom_io.services.store_scp import Arrived
from storage.analyses import EarlierObject, ResultObject, UsedModel
from storage.records import ReceivedObject, Spooled, Study

if TYPE_CHECKING:
    from inference.prediction import Outlined, Prediction
    from inference.serving.location import Located
    from inference.serving.segmenter import Model


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


def selection_rules(select: SelectSettings, model: ModelSettings | None = None) -> SelectionRules:
    """The rules of the configuration, under the same names, as `dicom_io.image.selection` takes them.

    Raises CannotWork for a SOP class that there is not.
    """
    if model is None:
        return SelectionRules(**select.model_dump())
    try:
        classes = tuple(radiograph_class(name) for name in model.sop_classes)
    except ValueError as error:
        raise CannotWork(f"model {model.name}: sop_classes {error}") from error
    return SelectionRules(
        **select.model_dump(), sop_classes=classes, views=model.views, maximum_age_years=model.maximum_age_years
    )


def used_model(name: str, classifier: Model) -> UsedModel:
    """Return a model as the journal names it."""
    bundle = classifier.bundle
    return UsedModel(name, bundle.name, bundle.version, bundle.digest, classifier.model.get("site_calibration", ""))


def model_identity(classifier: Model) -> ModelIdentity:
    """Return what a report says about the model."""
    bundle = classifier.bundle
    site = classifier.model.get("site_calibration", "")
    return ModelIdentity(name=bundle.name, version=bundle.version, digest=bundle.digest, trained=bundle.trained,
                         evaluated=bundle.evaluated, task=bundle.task, site_calibration=site)  # fmt: skip


def acquisition(header: Header) -> dict[str, str]:
    """Return what a result says of how an image was taken: the view, and the scanner by its header."""
    keywords = {"manufacturer": "Manufacturer", "manufacturer_model_name": "ManufacturerModelName",
                "station_name": "StationName"}  # fmt: skip
    named = {key: header.text(keyword)[:64].strip() for key, keyword in keywords.items()}
    return {"view": projection(header), **named}


def finding_results(prediction: Prediction) -> tuple[FindingResult, ...]:
    """Return the findings of one image that are assessed."""
    return tuple(
        FindingResult(f.finding, f.probability, f.threshold, cast(Call, f.call), f.score)
        for f in prediction.findings
        if f.threshold is not None and f.score is not None
    )


def source_image(header: Header, prediction: Prediction | None, reason: str, remark: str = "") -> SourceImage:
    """Return one image of a report. `reason` says why it was not analysed, or is ""; so is `remark`, a sentence."""
    image = SourceImage(
        header.dataset, (), reason, subject=subject_digest(header), remark=remark, view=stated_view(header),
        side=_side(header),
    )  # fmt: skip
    if prediction is None or not prediction.analysed:
        return image
    if prediction.outlined:
        return replace(image, outlined=outlined_structures(header, prediction))
    findings = finding_results(prediction)
    named = {result.finding for result in findings}
    others = tuple(f.finding for f in prediction.findings if f.finding not in named)
    return replace(image, findings=findings, pathology=_pathology(prediction), not_assessed=others)


def outlined_structures(header: Header, prediction: Prediction) -> tuple[OutlinedStructure, ...]:
    """Return what a segmentation outlined in an image, in pixels of the file and, where they are known, in mm2."""
    return tuple(_outlined(header, one) for one in prediction.outlined)


def _outlined(header: Header, one: Outlined) -> OutlinedStructure:
    area, plane = area_of(header, one)
    pixels = one.area_pixels * reduction(header, one.mask.shape) ** 2
    return OutlinedStructure(one.structure, one.mask, pixels, one.count, one.share, one.share_of, area, plane,
                             partial(stored_mask, header, one.mask))  # fmt: skip


def area_of(header: Header, one: Outlined) -> tuple[float | None, Plane]:
    """Return an outlined area in mm2, and the plane in which it holds; None and "" where the header leaves it open."""
    found = spacing(header)
    if found is None:
        return None, ""
    pixels = one.area_pixels * reduction(header, one.mask.shape) ** 2
    return pixels * found.row * found.column, found.plane


def with_areas(answer: dict[str, Any], header: Header, prediction: Prediction) -> dict[str, Any]:
    """Return the answer for a DICOM file with its areas in pixels of the file, and in mm2 where they are known."""
    rows = []
    for row, one in zip(answer["structures"], outlined_structures(header, prediction), strict=True):
        measured = {"area_mm2": round(one.area_mm2, 1), "plane": one.plane} if one.area_mm2 is not None else {}
        rows.append(row | {"area_pixels": one.area_pixels} | measured)
    return answer | {"structures": rows}


def _side(header: Header) -> Side:
    stated = orientation(header)
    if stated.side is StatedSide.AS_DISPLAYED:
        return "as stored"
    if stated.side is StatedSide.TURNED:
        return "flipped" if stated.flipped else "turned"
    return "unknown"


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
    earlier: Sequence[EarlierObject],
    kind: str,
    destinations: Sequence[DestinationSettings],
    _made: Sequence[ResultObject] = (),
) -> list[PredecessorRef]:
    """Return the earlier objects of this kind that were made for all of these destinations."""
    names = {d.name for d in destinations}
    return [
        PredecessorRef(made.sop_class_uid, made.sop_instance_uid)
        for made in earlier
        if made.kind == kind and names <= made.destinations
    ]


def rejected(
    earlier: Sequence[EarlierObject],
    kind: str,
    destinations: Sequence[DestinationSettings],
    made: Sequence[ResultObject],
) -> list[PredecessorRef]:
    """Return the objects that these destinations have and that those `made` now replace: what a note of `kind` names.

    None if nothing new was made for them. What an earlier note named is not named again.
    """
    names, known = {d.name for d in destinations}, {one.sop_instance_uid for one in earlier}
    now = {one.sop_instance_uid for one in made if names <= set(one.destinations)}
    if now <= known:
        return []
    theirs = [one for one in earlier if names <= one.destinations]
    since = max((one.made_at for one in theirs if one.kind == kind), default=None)
    old = [one for one in theirs if one.kind != kind and (since is None or one.made_at >= since)]
    first = {(one.kind, one.made_at): one.sop_instance_uid for one in reversed(old)}
    return [
        PredecessorRef(one.sop_class_uid, one.sop_instance_uid, first[one.kind, one.made_at])
        for one in old
        if one.sop_instance_uid not in now
    ]


def revised(analysis: Analysis, study: Study, destinations: Sequence[DestinationSettings]) -> Analysis:
    """Return the analysis as the one that follows the earlier results which one of these destinations has."""
    names = {d.name for d in destinations}
    known = [made for made in study.earlier if names & made.destinations]
    if not known:
        return analysis
    last = known[-1]
    replaces = Replaced(last.made_at.astimezone(analysis.started.tzinfo), last.model, study.corrected)
    return replace(analysis, revision=1 + len({made.made_at for made in known}), replaces=replaces)


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
