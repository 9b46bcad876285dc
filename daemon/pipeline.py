"""The straight line that every study follows; this module reads from top to bottom.

    receive -> spool + journal -> select -> decode -> infer -> report -> journal -> deliver -> journal

The three parts (receive, analyse, deliver) run as processes of their own and meet only in the journal and the spool.
Each function here is given what it works with, calls the leaf packages, and returns. Loops, waits, retries and logs
are in the modules of the parts: `daemon.parts.receive`, `daemon.parts.analyse`, `daemon.parts.deliver`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from config.settings import Settings
from daemon import translate
from daemon.analysis import triage
from daemon.analysis.answers import result_objects
from daemon.analysis.examined import ExaminedImage, ModelOpinion, ReadImage
from daemon.analysis.locating import result_with_locations
from daemon.analysis.routing import Route
from daemon.channel import Channel
from daemon.comparison import compare
from daemon.decisions import SeveralPatients
from dicom_io.image.decode import decode
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.selection import Verdict, projection
from dicom_io.image.subject import count_patients
from dicom_io.network.errors import InstanceConflict, ObjectMismatch
from dicom_io.network.statuses import Status
from dicom_io.services.store_scp import Answer, Arrived
from storage.analyses import InstanceOutcome, ModelOutcome, UsedModel
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import (
    AnalysisOutcome,
    Arrival,
    Delivery,
    Instance,
    ReceivedObject,
    Sent,
    Study,
)
from storage.spool import Spool

if TYPE_CHECKING:  # the receiver and the couriers import this module too, and must not load torch
    from inference.prediction import Prediction
    from inference.serving.segmenter import Model


# A picture is decoded to at least twice this many pixels a side. A Secondary Capture shows that many, and no network
# here takes more. It is one number for all, so that an image gives the same result whatever is made from it.
SIZE_HINT = 512
_PROGRESS = {"ignored": 0, "refused": 1, "analysed": 2}

# --- receive -----------------------------------------------------------------------------------------------------


def receive(arrived: Arrived, spool: Spool, journal: Journal, now: datetime) -> Answer:
    """Store one received object in the spool and the journal, and return the answer to its C-STORE.

    Success means that the object is durable: the file, with exactly the bytes that were received, and its directory are
    synchronised to disk, and the journal's transaction is committed.

    Raises ObjectMismatch, InstanceConflict, NotDicom, SpoolUnavailable or DatabaseUnavailable. After
    DatabaseUnavailable the spooled file stays for at least a minute, because the commit may have taken effect; it is
    then removed if the journal does not have it.
    """
    header = read_header(arrived.path)
    _check_agreement(header, arrived)
    spooled = spool.adopt(arrived.path, arrived.sha256)
    try:
        arrival = _journaled(translate.received_object(header, arrived, spooled), header, spool, journal, now)
    except DatabaseUnavailable:
        spool.doubt(spooled.name)
        raise
    if arrival is Arrival.CONFLICT:  # the first object counts; one copy of the other bytes is kept for a person
        if not journal.knows(spooled.name):
            spool.remove(spooled.name)
        raise InstanceConflict("other bytes are held under this SOP Instance UID")
    if arrival is Arrival.DUPLICATE:
        spool.remove(spooled.name)
        return Answer(Status.SUCCESS, "already held, the same image")
    return Answer(Status.SUCCESS)


def _journaled(obj: ReceivedObject, header: Header, spool: Spool, journal: Journal, now: datetime) -> Arrival:
    """Write the object down; where other bytes are in use under its UID, only after the two were compared."""
    arrival = journal.received(obj, now)
    while arrival is Arrival.UNCOMPARED:  # again where a third object came in between
        held = journal.in_use(obj.sop_instance_uid)
        stored = replace(header, path=spool.path(obj.spooled.name))
        arrival = journal.received(obj, now, compare(stored, held, spool))
    return arrival


def _check_agreement(header: Header, arrived: Arrived) -> None:
    """Raise ObjectMismatch (status A900, PS3.4 B.2.3) if the data set is not what the command announced."""
    if header.sop_class_uid != arrived.sop_class_uid:
        raise ObjectMismatch("SOP Class UID of command and data set differ")
    if header.sop_instance_uid != arrived.sop_instance_uid:
        raise ObjectMismatch("SOP Instance UID of command and data set differ")
    if not header.study_instance_uid:
        raise ObjectMismatch("the data set has no Study Instance UID")


# --- analyse -----------------------------------------------------------------------------------------------------


def read_images(study: Study, spool: Spool, routes: Sequence[Route], max_pixels: int) -> tuple[ReadImage, ...]:
    """Read a study's images, and decode those that a model is for.

    Raises SpoolDamaged if a file is missing from the spool or was altered, and SeveralPatients if the images are not of
    one patient (PS3.3 A.1.2): then no report may be made from them.
    """
    images = tuple(_read_image(i, spool, routes, max_pixels) for i in study.instances)
    patients = count_patients([image.header for image in images])
    if patients > 1:
        raise SeveralPatients(patients)
    return images


def _read_image(instance: Instance, spool: Spool, routes: Sequence[Route], max_pixels: int) -> ReadImage:
    path = spool.verified(instance.spool_name, instance.sha256)
    header = read_header(path)
    verdicts = {route.name: route.select(header, instance.calling_ae_title) for route in routes}
    if not any(verdict.eligible for verdict in verdicts.values()):
        return ReadImage(instance, header, verdicts)
    try:
        return ReadImage(instance, header, verdicts, pixels=decode(path, max_pixels, SIZE_HINT, header))
    except NoPicture as refusal:
        return ReadImage(instance, header, verdicts, refusal=str(refusal))


def selected(images: Sequence[ReadImage], route: Route) -> tuple[ExaminedImage, ...]:
    """Return the images as the model of this route sees them: with their pixels where they are for it."""
    return tuple(_selected(image, image.verdicts[route.name]) for image in images)


def _selected(image: ReadImage, verdict: Verdict) -> ExaminedImage:
    instance, header = image.instance, image.header
    if not verdict.eligible:
        return ExaminedImage(instance, header, "ignored", verdict.reason, sign=verdict.sign)
    if image.pixels is None:
        return ExaminedImage(instance, header, "refused", image.refusal)
    view = projection(header)
    return ExaminedImage(instance, header, "analysed", pixels=image.pixels, view=view, remark=verdict.remark)


def classify(
    studies: Sequence[tuple[ExaminedImage, ...]], classifier: Model, batch: int
) -> list[tuple[ExaminedImage, ...]]:
    """Return the same images with predictions. The network gets up to `batch` images at a time, across studies."""
    seen = [(image.pixels, image.view) for study in studies for image in study if image.pixels is not None]
    images, views = [pixels for pixels, _ in seen], [view for _, view in seen]
    predictions: Iterator[Prediction] = (
        prediction
        for start in range(0, len(images), batch)
        for prediction in classifier.predict(images[start : start + batch], views[start : start + batch])
    )
    return [tuple(_with_prediction(image, predictions) for image in study) for study in studies]


def _with_prediction(image: ExaminedImage, predictions: Iterator[Prediction]) -> ExaminedImage:
    """Return the image with the next prediction, if it has pixels; otherwise unchanged."""
    if image.pixels is None:
        return image
    prediction = next(predictions)
    if prediction.analysed:
        return replace(image, prediction=prediction)
    return replace(image, verdict="refused", reason=prediction.reason, prediction=prediction)


def opinions(
    studies: Sequence[tuple[ReadImage, ...]], route: Route, classifier: Model, batch: int
) -> list[ModelOpinion]:  # fmt: skip
    """Return what the model of this route makes of each study."""
    seen = classify([selected(images, route) for images in studies], classifier, batch)
    return [ModelOpinion(route, classifier, images) for images in seen]


def conclude(
    study: Study,
    opinions: Sequence[ModelOpinion],
    settings: Settings,
    started: datetime,
    trials: Sequence[UsedModel] = (),
) -> AnalysisOutcome:
    """Return what the journal is to keep of an analysed study, including the encoded result objects.

    `opinions` are those of the models in use, `trials` names the models on trial that are to see it later. `started` is
    when the analysis began, with the offset of the hospital's time zone: the result objects carry it.
    """
    instances = tuple(_together(images) for images in zip(*(one.images for one in opinions), strict=True))
    spoken = [one for one in opinions if any(image.in_scope for image in one.images)]
    raised = [
        triage.raised(settings.alert, study, _summary(one), one.classifier.model, started) for one in spoken
    ]  # fmt: skip
    told = spoken or opinions[:1]  # where no image is for any model, the first one says so
    models = {one.route.name for one in opinions}
    return AnalysisOutcome(
        instances=instances,
        models=tuple(
            model_outcome(study, one, started, models - {one.route.name} if one in told else None) for one in opinions
        ),
        state="ANALYSED" if spoken else "IGNORED",
        reason="; ".join(dict.fromkeys(one.reason for one in instances if one.reason)),
        raised=triage.joined(raised),
        trials=tuple(trials),
    )


def _together(images: Sequence[ExaminedImage]) -> InstanceOutcome:
    """What the models together make of one image: that of the model that came furthest with it."""
    best = max(images, key=lambda image: _PROGRESS[image.verdict])
    return InstanceOutcome(best.instance.id, best.verdict, best.reason)


def _summary(opinion: ModelOpinion) -> Prediction | None:
    """What the model says of the study as a whole; None if it analysed no image."""
    predictions = [image.prediction for image in opinion.images if image.prediction and image.prediction.analysed]
    return opinion.classifier.summary(predictions) if predictions else None


def model_outcome(
    study: Study, opinion: ModelOpinion, started: datetime, others: Collection[str] | None = None
) -> ModelOutcome:  # fmt: skip
    """Return what the journal is to keep of one model's opinion.

    `others`: the names of the other models in use; None: nobody is told of this opinion.
    """
    in_scope = [image for image in opinion.images if image.in_scope]
    told = opinion.route.destinations if others is not None else ()
    return ModelOutcome(
        model=translate.used_model(opinion.route.name, opinion.classifier),
        images=tuple(_instance_outcome(image, opinion.classifier) for image in opinion.images),
        findings=translate.findings(_summary(opinion)),
        objects=tuple(result_objects(study, in_scope, opinion.images, opinion.classifier, told, started, others or ())),
        started_at=started,
    )


def _instance_outcome(image: ExaminedImage, classifier: Model) -> InstanceOutcome:
    name = image.instance.sop_instance_uid
    result = result_with_locations(name, image.header, image.pixels, image.prediction, classifier)
    return InstanceOutcome(image.instance.id, image.verdict, image.reason, result)


# --- deliver -----------------------------------------------------------------------------------------------------


def deliver(delivery: Delivery, channel: Channel) -> Sent:
    """Send a result object: the bytes that the journal holds. A failure of the destination is returned, not raised."""
    return channel.send(delivery)
