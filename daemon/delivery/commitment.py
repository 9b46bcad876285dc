"""Storage commitment (PS3.4 Annex J) in both roles. Every request, promise and answer is kept in the journal."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import uuid4

from config.sections import DeliverySettings, PeerSettings
from config.settings import Settings
from daemon.delivery.dicom import DicomChannel
from daemon.retries import COMMIT_REPORT_SECONDS, MOST_COMMIT_REPORTS, MOST_COMMIT_REQUESTS
from daemon.runtime import log
from daemon.runtime.clock import now
from dicom_io.network.errors import NotAuthorized
from dicom_io.network.statuses import Status
from dicom_io.services.storage_commitment import CommitReport, CommitRequest, Reference
from dicom_io.services.store_scu import Sender
from storage.errors import SpoolDamaged
from storage.journal import Journal
from storage.records import PendingCommitRequest, Sending, Uncommitted
from storage.spool import Spool

TOGETHER = 50  # objects in one request
OpenPeer = Callable[[Settings, PeerSettings, str], Sender]
NOWHERE = "no [[peer]] with this AE title has a port to report to"


# --- as SCU: we ask a destination to commit to what we delivered ---------------------------------------------------


def ask(policy: DeliverySettings, journal: Journal, destination: str, channel: DicomChannel) -> bool:
    """Ask `destination` to commit to objects that it accepted: those not asked for yet, or not answered for in time.

    Returns False if there is nothing to ask for, or if the destination cannot be reached. The number of requests for an
    object is limited, so none is spent on a destination that is away.
    """
    objects = journal.commit_due(destination, TOGETHER, _late_before(policy), MOST_COMMIT_REQUESTS)
    if not objects or not channel.is_reachable():
        return False
    _request(journal, destination, channel, objects)
    return True


def give_up(settings: Settings, journal: Journal) -> None:
    """Quarantine what a destination was asked for three times without an answer.

    The same is done with objects whose destination is no longer configured for storage commitment.
    """
    asking = [d.name for d in settings.destination if d.commits]
    overdue = journal.overdue(_late_before(settings.delivery), MOST_COMMIT_REQUESTS, asking)
    for name, group in groupby(sorted(overdue, key=lambda o: o.destination), key=lambda o: o.destination):
        ids = [o.delivery_id for o in group]
        journal.commit_failed(ids, f"{name} never answered the request for storage commitment", now())
        log.get().warning("commitment given up", destination=name, objects=len(ids))


def _late_before(policy: DeliverySettings) -> datetime:
    """Requests sent before this time have timed out."""
    return now() - timedelta(seconds=policy.commitment_timeout_seconds)


def _request(journal: Journal, destination: str, channel: DicomChannel, objects: Sequence[Uncommitted]) -> None:
    """Record the request, then send it: the report may arrive before we know that the request did."""
    transaction_uid, ids = f"2.25.{uuid4().int}", [o.delivery_id for o in objects]
    journal.commit_requested(transaction_uid, ids, now())
    sent = channel.ask_to_commit(transaction_uid, objects)
    if sent.outcome == Sending.REFUSED:
        reason = f"{destination} refused the request for storage commitment with status 0x{sent.status or 0:04X}"
        journal.commit_failed(ids, reason, now())
    log.get().info(
        "commitment requested", destination=destination, objects=len(ids), outcome=sent.outcome, status=sent.status
    )


def reported(journal: Journal, report: CommitReport) -> None:
    """Record a destination's report. An object that it does not have (Failure Reason 0112) is sent again."""
    journal.committed(
        report.transaction_uid,
        [r.sop_instance_uid for r in report.committed],
        [(r.sop_instance_uid, reason) for r, reason in report.failed],
        now(),
        resend=[int(Status.NO_SUCH_OBJECT_INSTANCE)],
        max_requests=MOST_COMMIT_REQUESTS,
    )
    log.get().info("commitment reported", committed=len(report.committed), failed=len(report.failed))


# --- as SCP: a modality asks us to commit to what it sent -----------------------------------------------------------


def remember(journal: Journal, settings: Settings, asked: CommitRequest) -> None:
    """Record a modality's request, which `answer` reports on later.

    Raises NotAuthorized if the configuration has no port to which a report for this AE title could be sent.
    """
    if _peer(settings, asked.calling_ae_title) is None:
        raise NotAuthorized(NOWHERE)
    references = tuple((r.sop_class_uid, r.sop_instance_uid) for r in asked.references)
    journal.remember_request(
        PendingCommitRequest(asked.transaction_uid, asked.calling_ae_title, asked.peer_address, references), now()
    )


def answer(settings: Settings, journal: Journal, spool: Spool, open_peer: OpenPeer) -> None:
    """Report on every request that is due, through a sender that `open_peer` opens.

    The objects that we commit to stay in the spool for `storage.keep_days` from now.
    """
    for request in journal.unanswered(now()):
        report = _report(settings, journal, spool, request)
        peer = _peer(settings, request.calling_ae_title)
        sent = open_peer(settings, peer, request.peer_address).report_commitment(report) if peer else None
        if sent and sent.outcome in (Sending.ACCEPTED, Sending.WARNING):
            committed, failed = report.committed, [reference for reference, _ in report.failed]
            journal.answered(request, _instance_uids(committed), _instance_uids(failed), now())
        else:
            last = peer is None or request.attempts >= MOST_COMMIT_REPORTS
            _not_reported(journal, request, sent.comment if sent else NOWHERE, last)


def _report(settings: Settings, journal: Journal, spool: Spool, request: PendingCommitRequest) -> CommitReport:
    """Return which of the requested objects we hold; what we commit to is kept from now on."""
    held = [r for r in request.references if _holds(journal, spool, *r)]
    if settings.storage.keep_days:
        journal.hold([uid for _, uid in held], now() + timedelta(days=settings.storage.keep_days))
    committed = tuple(Reference(*reference) for reference in held)
    return CommitReport(request.transaction_uid, committed, tuple(_missing(request, held)))


def _instance_uids(references: Sequence[Reference]) -> list[str]:
    return [reference.sop_instance_uid for reference in references]


def _not_reported(journal: Journal, request: PendingCommitRequest, comment: str, last: bool) -> None:
    """Record that the report did not arrive, and when it is sent again: not at all after the `last` attempt."""
    journal.not_answered(request, None if last else now() + timedelta(seconds=COMMIT_REPORT_SECONDS))
    log.get().warning("commitment report not delivered", peer=request.calling_ae_title, comment=comment, last=last)


def _peer(settings: Settings, ae_title: str) -> PeerSettings | None:
    """Return the [[peer]] to report to, or None. The configuration must name its port: the request does not."""
    return next((p for p in settings.peer if p.ae_title == ae_title and p.port), None)


def _holds(journal: Journal, spool: Spool, sop_class_uid: str, sop_instance_uid: str) -> bool:
    """Whether we have the object, with exactly the bytes that were received."""
    held = journal.holds(sop_class_uid, sop_instance_uid)
    try:
        return held is not None and bool(spool.verified(held.spool_name, held.sha256))
    except SpoolDamaged:
        return False


def _missing(request: PendingCommitRequest, committed: Sequence[tuple[str, str]]) -> Iterator[tuple[Reference, int]]:
    """Yield the requested objects that we do not have, each with its Failure Reason."""
    for reference in request.references:
        if reference not in committed:
            yield Reference(*reference), int(Status.NO_SUCH_OBJECT_INSTANCE)
