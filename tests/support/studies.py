"""Made-up studies for tests of the storage package: each value short, each promise visible."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.analyses import InstanceOutcome, ModelOutcome, ResultObject, UsedModel
from storage.journal import Journal
from storage.records import AnalysisOutcome, Attempt, ReceivedObject, Sent, Spooled, Study

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCEPTED = Sent("ACCEPTED", 0x0000)
REFUSED = Sent("REFUSED", 0xA900, "does not match")
UNREACHABLE = Sent("UNREACHABLE", None, "no answer")


def at(seconds: float) -> datetime:
    """So many seconds after the start of the story."""
    return START + timedelta(seconds=seconds)


def image(study: str = "1.2.3", number: int = 1, sha256: str = "", **more: Any) -> ReceivedObject:
    """Image `number` of a study."""
    uid = f"{study}.{number}"
    values = {
        "study_instance_uid": study,
        "series_instance_uid": f"{study}.0",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "sop_instance_uid": uid,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "patient_id": "PAT1",
        "accession_number": "ACC1",
        "study_date": "20260301",
        "modality": "DX",
        "calling_ae_title": "MODALITY1",
        "peer_address": "127.0.0.1",
        "spooled": Spooled(f"objects/00/{uid}", 1000, sha256 or f"sha of {uid}"),
        "priority": 1,
    }
    return ReceivedObject(**{**values, **more})


def report(uid: str, *destinations: str, kind: str = "sr", committing: tuple[str, ...] = ()) -> ResultObject:
    """A result object that says its own UID."""
    sop_class_uid, transfer_syntax_uid = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.1.2.1"
    return ResultObject(kind, sop_class_uid, uid, transfer_syntax_uid, uid.encode(), destinations, committing)


def outcome(
    study: Study,
    *objects: ResultObject,
    findings: Sequence[dict[str, Any]] = (),
    results: Sequence[InstanceOutcome] = (),
    model: UsedModel | None = None,
    **more: Any,
) -> AnalysisOutcome:
    """All images of a study analysed by one model, with these results."""
    images = tuple(results) or tuple(InstanceOutcome(i.id, "analysed", "", {"analysed": True}) for i in study.instances)
    said = ModelOutcome(model or UsedModel(), images, list(findings), objects)
    verdicts = tuple(replace(one, result=None) for one in images)
    return AnalysisOutcome(**{"instances": verdicts, "models": (said,), **more})


def take_up(journal: Journal, seconds: float = 60, worker: str = "worker", limit: int = 10) -> list[Study]:
    """What has settled by then."""
    return journal.settled(at(seconds), 3.0, limit, worker)


def analysed(journal: Journal, study: str = "1.2.3", *destinations: str, committing: tuple[str, ...] = ()) -> Study:
    """A study with one image, received, taken up and analysed, its report due at these destinations."""
    journal.received(image(study), at(0))
    (taken,) = take_up(journal)
    journal.analysed(taken, outcome(taken, report(f"{study}.9", *destinations, committing=committing)), at(61))
    return taken


def deliver(journal: Journal, destination: str, result: Sent = ACCEPTED, seconds: float = 100) -> list[str]:
    """Everything that is due at a destination ends in `result`; the SOP Instance UIDs."""
    due = journal.due(destination, at(seconds), 100)
    for delivery in due:
        journal.sent(Attempt(delivery.id, result), at(seconds + 1))
    return [delivery.sop_instance_uid for delivery in due]
