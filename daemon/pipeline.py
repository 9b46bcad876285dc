"""The line that every study follows, from top to bottom.

    receive -> spool + journal -> select -> decode -> infer -> report -> journal -> deliver -> journal

The three parts (receive, analyse, deliver) run as processes of their own and meet only in the journal and the spool.
Each function here takes what the part was wired with, calls the leaves, and returns; who loops, waits, retries and
logs are the modules of the parts: `daemon.parts.receive`, `daemon.parts.analyse`, `daemon.parts.deliver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from config.sections import DestinationSettings
from config.settings import Settings
from daemon import outputs, translate
from daemon.channel import Channel
from dicom_io.composite.analysis import Analysis, Heatmap
from dicom_io.image.decode import decode
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.selection import SelectionRules, Sign, select
from dicom_io.network.errors import InstanceConflict, ObjectMismatch
from dicom_io.network.statuses import Status
from dicom_io.services.store_scp import Answer, Arrived
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import (
    AnalysisOutcome,
    Arrival,
    Delivery,
    Instance,
    InstanceOutcome,
    ResultObject,
    Sent,
    Study,
)
from storage.spool import Spool

if TYPE_CHECKING:  # the receiver and the couriers run this line too, and need not carry torch
    from inference.prediction import Prediction
    from inference.serving.classifier import Classifier


# A picture is decoded to at least twice this many pixels a side: what a Secondary Capture shows, and more than any
# network here takes. One number for all, so that the same image gives the same result whoever gets it.
SIZE_HINT = 512

# Of a study in which no image is analysed: the images that a destination is told of, by what they seem to show and by
# its `report_ignored`. Results are never answered: two programs that answer each other's results would never end.
ANSWERED: dict[str, tuple[Sign, ...]] = {"chest": ("chest",), "all": ("chest", "other"), "none": ()}

# --- receive -----------------------------------------------------------------------------------------------------


def receive(arrived: Arrived, spool: Spool, journal: Journal, now: datetime) -> Answer:
    """Spool and journal one object; the answer Success means that both are durable (DESIGN 3.1).

    Raises ObjectMismatch, InstanceConflict, NotDicom, SpoolUnavailable or DatabaseUnavailable. After the last the
    spooled file stays for a minute at least, for the commit may have taken effect; then it goes if no row knows it.
    """
    header = read_header(arrived.path)
    _agrees(header, arrived)
    spooled = spool.adopt(arrived.path, arrived.sha256)
    try:
        arrival = journal.received(translate.received_object(header, arrived, spooled), now)
    except DatabaseUnavailable:
        spool.doubt(spooled.name)
        raise
    if arrival is Arrival.CONFLICT:  # the first one counts; the other bytes are set aside for a person, once
        if not journal.knows(spooled.name):
            spool.remove(spooled.name)
        raise InstanceConflict("other bytes are held under this SOP Instance UID")
    if arrival is Arrival.DUPLICATE:
        spool.remove(spooled.name)
        return Answer(Status.SUCCESS, "already held, the same bytes")
    return Answer(Status.SUCCESS)


def _agrees(header: Header, arrived: Arrived) -> None:
    """PS3.4 B.2.3: A900 where the data set is not what the command announced."""
    if header.sop_class_uid != arrived.sop_class_uid:
        raise ObjectMismatch("SOP Class UID of command and data set differ")
    if header.sop_instance_uid != arrived.sop_instance_uid:
        raise ObjectMismatch("SOP Instance UID of command and data set differ")
    if not header.study_instance_uid:
        raise ObjectMismatch("the data set has no Study Instance UID")


# --- analyse -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looked:
    """One image on its way: its header and either pixels, or the reason why there are none."""

    instance: Instance
    header: Header
    verdict: str  # analysed | ignored | refused
    reason: str = ""
    pixels: np.ndarray | None = None  # float32 [rows, columns], 0 black .. 1 white
    prediction: Prediction | None = None
    sign: Sign = "chest"


def look(study: Study, spool: Spool, settings: Settings) -> tuple[Looked, ...]:
    """Select and decode a study's images. Raises SpoolDamaged where the spool lost one."""
    rules = translate.selection_rules(settings.select)
    return tuple(_look(i, spool, rules, settings.dicom.max_pixels) for i in study.instances)


def _look(instance: Instance, spool: Spool, rules: SelectionRules, max_pixels: int) -> Looked:
    path = spool.verified(instance.spool_name, instance.sha256)
    header = read_header(path)
    verdict = select(header, rules)
    if not verdict.eligible:
        return Looked(instance, header, "ignored", verdict.reason, sign=verdict.sign)
    try:
        return Looked(instance, header, "analysed", pixels=decode(path, max_pixels, SIZE_HINT, header))
    except NoPicture as refusal:
        return Looked(instance, header, "refused", str(refusal))


def classify(studies: Sequence[tuple[Looked, ...]], classifier: Classifier, batch: int) -> list[tuple[Looked, ...]]:
    """The same images with predictions: those that wait together run together, at most `batch` at a time."""
    images = [image.pixels for study in studies for image in study if image.pixels is not None]
    predictions: Iterator[Prediction] = (
        prediction
        for start in range(0, len(images), batch)
        for prediction in classifier.predict(images[start : start + batch])
    )
    return [tuple(_predicted(image, predictions) for image in study) for study in studies]


def _predicted(image: Looked, predictions: Iterator[Prediction]) -> Looked:
    if image.pixels is None:
        return image
    prediction = next(predictions)
    if prediction.analysed:
        return replace(image, prediction=prediction)
    return replace(image, verdict="refused", reason=prediction.reason, prediction=prediction)


def conclude(
    study: Study, images: Sequence[Looked], classifier: Classifier, settings: Settings, started: datetime
) -> AnalysisOutcome:
    """What the journal is to remember of an analysed study, with the encoded result objects in it."""
    in_scope = [image for image in images if image.verdict != "ignored"]
    predictions = [image.prediction for image in in_scope if image.prediction and image.prediction.analysed]
    summary = classifier.summary(predictions) if predictions else None
    return AnalysisOutcome(
        instances=tuple(_instance_outcome(image, classifier) for image in images),
        objects=tuple(_objects(study, in_scope, images, classifier, settings.destination, started)),
        state="ANALYSED" if in_scope else "IGNORED",
        reason="; ".join(dict.fromkeys(image.reason for image in images if image.reason)),
        findings=translate.findings(summary),
        model_digest=classifier.bundle.digest,
    )


def _instance_outcome(image: Looked, classifier: Classifier) -> InstanceOutcome:
    prediction = image.prediction
    result = prediction.to_json(image.instance.sop_instance_uid, classifier.model) if prediction else None
    return InstanceOutcome(image.instance.id, image.verdict, image.reason, result)


def _objects(
    study: Study,
    in_scope: Sequence[Looked],
    images: Sequence[Looked],
    classifier: Classifier,
    destinations: Sequence[DestinationSettings],
    started: datetime,
) -> Iterator[ResultObject]:
    """Each result object once, with the destinations that get it."""
    for shown, told in _answered(in_scope, images, destinations):
        analysis = _analysis(shown, classifier, started)
        for name in outputs.MODULES:
            for options, group in outputs.grouped(name, told):
                earlier = translate.predecessors(study.earlier, name, group)
                for encoded in outputs.kind(name).make(analysis, options, earlier):
                    yield translate.result_object(name, encoded, group)


def _answered(
    in_scope: Sequence[Looked], images: Sequence[Looked], destinations: Sequence[DestinationSettings]
) -> list[tuple[Sequence[Looked], list[DestinationSettings]]]:
    """The images that are answered, and the destinations that get this answer.

    Images that are out of scope by their tags are answered only where all of a study are.
    """
    if in_scope:
        return [(in_scope, list(destinations))]
    groups: dict[tuple[int, ...], list[DestinationSettings]] = {}
    for destination in destinations:
        numbers = tuple(n for n, i in enumerate(images) if i.sign in ANSWERED[destination.report_ignored])
        groups.setdefault(numbers, []).append(destination)
    return [([images[n] for n in numbers], told) for numbers, told in groups.items() if numbers]


def _analysis(images: Sequence[Looked], classifier: Classifier, started: datetime) -> Analysis:
    """What the result objects are made from; the first image that was decoded is the one that is shown."""
    sources = tuple(translate.source_image(i.header, i.prediction, i.reason) for i in images)
    model = translate.model_identity(classifier.bundle)
    shown = next((i for i in images if i.pixels is not None), None)
    if shown is None:
        return Analysis(sources, model, started)
    return Analysis(sources, model, started, shown.pixels, partial(_heatmap, shown, classifier))


def _heatmap(image: Looked, classifier: Classifier) -> Heatmap | None:
    """Where the network looked for the most likely finding, if that is present."""
    from inference.serving.explain import heatmaps

    likely = image.prediction and image.prediction.most_likely
    if image.pixels is None or not likely or likely.call != "present":
        return None
    return Heatmap(likely.finding, heatmaps(classifier, image.pixels)[likely.finding])


# --- deliver -----------------------------------------------------------------------------------------------------


def deliver(delivery: Delivery, channel: Channel) -> Sent:
    """Send one result object, the bytes that the journal holds. Trouble of the peer is a value, not an exception."""
    return channel.send(delivery)
