"""The straight line that every study follows; this module reads from top to bottom.

    receive -> spool + journal -> select -> decode -> infer -> report -> journal -> deliver -> journal

The three parts (receive, analyse, deliver) run as processes of their own and meet only in the journal and the spool.
Each function here is given what it works with, calls the leaf packages, and returns. Loops, waits, retries and logs
are in the modules of the parts: `daemon.parts.receive`, `daemon.parts.analyse`, `daemon.parts.deliver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from config.settings import Settings
from daemon import translate, triage
from daemon.answers import result_objects
from daemon.channel import Channel
from daemon.comparison import compare
from daemon.decisions import SeveralPatients
from daemon.examined import ExaminedImage
from daemon.locating import result_with_locations
from dicom_io.image.decode import decode
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.selection import SelectionRules, projection, select
from dicom_io.image.subject import count_patients
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


def read_images(study: Study, spool: Spool, settings: Settings) -> tuple[ExaminedImage, ...]:
    """Select and decode a study's images.

    Raises SpoolDamaged if a file is missing from the spool or was altered, and SeveralPatients if the images are not of
    one patient (PS3.3 A.1.2): then no report may be made from them.
    """
    rules = translate.selection_rules(settings.select)
    images = tuple(_read_image(i, spool, rules, settings.dicom.max_pixels) for i in study.instances)
    patients = count_patients([image.header for image in images])
    if patients > 1:
        raise SeveralPatients(patients)
    return images


def _read_image(instance: Instance, spool: Spool, rules: SelectionRules, max_pixels: int) -> ExaminedImage:
    path = spool.verified(instance.spool_name, instance.sha256)
    header = read_header(path)
    verdict = select(header, rules)
    if not verdict.eligible:
        return ExaminedImage(instance, header, "ignored", verdict.reason, sign=verdict.sign)
    try:
        pixels = decode(path, max_pixels, SIZE_HINT, header)
        view = projection(header)
        return ExaminedImage(instance, header, "analysed", pixels=pixels, view=view, remark=verdict.remark)
    except NoPicture as refusal:
        return ExaminedImage(instance, header, "refused", str(refusal))


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


def conclude(
    study: Study, images: Sequence[ExaminedImage], classifier: Model, settings: Settings, started: datetime
) -> AnalysisOutcome:
    """Return what the journal is to keep of an analysed study, including the encoded result objects.

    `started` is when the analysis began, with the offset of the hospital's time zone: the result objects carry it.
    """
    in_scope = [image for image in images if image.verdict != "ignored"]
    predictions = [image.prediction for image in in_scope if image.prediction and image.prediction.analysed]
    summary = classifier.summary(predictions) if predictions else None
    return AnalysisOutcome(
        instances=tuple(_instance_outcome(image, classifier) for image in images),
        objects=tuple(result_objects(study, in_scope, images, classifier, settings.destination, started)),
        state="ANALYSED" if in_scope else "IGNORED",
        reason="; ".join(dict.fromkeys(image.reason for image in images if image.reason)),
        findings=translate.findings(summary),
        model_digest=classifier.bundle.digest,
        raised=triage.raised(settings.alert, study, summary, classifier.model, started),
        model_version=classifier.bundle.version,
    )


def _instance_outcome(image: ExaminedImage, classifier: Model) -> InstanceOutcome:
    name = image.instance.sop_instance_uid
    result = result_with_locations(name, image.header, image.pixels, image.prediction, classifier)
    return InstanceOutcome(image.instance.id, image.verdict, image.reason, result)


# --- deliver -----------------------------------------------------------------------------------------------------


def deliver(delivery: Delivery, channel: Channel) -> Sent:
    """Send a result object: the bytes that the journal holds. A failure of the destination is returned, not raised."""
    return channel.send(delivery)
