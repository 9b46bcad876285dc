"""Storage commitment (PS3.4 Annex J), both roles: all that is asked, promised and answered stands in the journal."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import uuid4

from config.sections import DeliverySettings, DestinationSettings, PeerSettings
from config.settings import Settings
from daemon.runtime import log
from daemon.runtime.clock import now
from dicom_io.network.errors import NotAuthorized
from dicom_io.network.statuses import Status
from dicom_io.services.storage_commitment import CommitReport, CommitRequest, Reference
from dicom_io.services.store_scu import Sender
from storage.errors import SpoolDamaged
from storage.journal import Journal
from storage.records import PendingCommitRequest, Uncommitted
from storage.spool import Spool

TOGETHER = 50  # objects in one request
MOST_REQUESTS = 3
MOST_ANSWERS = 10
AGAIN_SECONDS = 60.0
OpenPeer = Callable[[Settings, PeerSettings, str], Sender]
NOWHERE = "no [[peer]] with this AE title has a port to report to"


# --- as SCU: we ask a destination to commit what we delivered ------------------------------------------------------


def ask(policy: DeliverySettings, journal: Journal, destination: DestinationSettings, sender: Sender) -> bool:
    """Ask `destination` to commit what it accepted and was not asked for yet, or did not answer for in time.

    False where there was nothing to ask, or nobody: a request counts, so none is made to a PACS that is away.
    """
    if not destination.storage_commitment:
        return False
    objects = journal.commit_due(destination.name, TOGETHER, _patience_began(policy), MOST_REQUESTS)
    if not objects or sender.echo().outcome == "UNREACHABLE":
        return False
    _request(journal, destination, sender, objects)
    return True


def give_up(settings: Settings, journal: Journal) -> None:
    """Have a person look at what was asked for three times in vain, and at what nobody can be asked for any more."""
    asking = [d.name for d in settings.destination if d.storage_commitment]
    overdue = journal.overdue(_patience_began(settings.delivery), MOST_REQUESTS, asking)
    for name, group in groupby(sorted(overdue, key=lambda o: o.destination), key=lambda o: o.destination):
        ids = [o.delivery_id for o in group]
        journal.commit_failed(ids, f"{name} never answered the request for storage commitment", now())
        log.get().warning("commitment given up", destination=name, objects=len(ids))


def _patience_began(policy: DeliverySettings) -> datetime:
    """Who was asked before then is late."""
    return now() - timedelta(seconds=policy.commitment_timeout_seconds)


def _request(
    journal: Journal, destination: DestinationSettings, sender: Sender, objects: Sequence[Uncommitted]
) -> None:
    """Note the request, then send it: a report may come before we know that the request arrived."""
    transaction_uid, ids = f"2.25.{uuid4().int}", [o.delivery_id for o in objects]
    journal.commit_requested(transaction_uid, ids, now())
    sent = sender.request_commitment(transaction_uid, [Reference(o.sop_class_uid, o.sop_instance_uid) for o in objects])
    if sent.outcome == "REFUSED":
        reason = f"{destination.name} refused the request for storage commitment with status 0x{sent.status or 0:04X}"
        journal.commit_failed(ids, reason, now())
    log.get().info(
        "asked to commit", destination=destination.name, objects=len(ids), outcome=sent.outcome, status=sent.status
    )


def reported(journal: Journal, report: CommitReport) -> None:
    """Write down a destination's answer; 0112 (no such object) is sent again."""
    journal.committed(
        report.transaction_uid,
        [r.sop_instance_uid for r in report.committed],
        [(r.sop_instance_uid, reason) for r, reason in report.failed],
        now(),
        resend=[int(Status.NO_SUCH_OBJECT_INSTANCE)],
        max_requests=MOST_REQUESTS,
    )
    log.get().info("commitment reported", committed=len(report.committed), failed=len(report.failed))


# --- as SCP: a modality asks us to commit what it sent --------------------------------------------------------------


def remember(journal: Journal, settings: Settings, asked: CommitRequest) -> None:
    """Keep a modality's request: it is answered by `answer`. Raises NotAuthorized where it could never be."""
    if _peer(settings, asked.calling_ae_title) is None:
        raise NotAuthorized(NOWHERE)
    references = tuple((r.sop_class_uid, r.sop_instance_uid) for r in asked.references)
    journal.remember_request(
        PendingCommitRequest(asked.transaction_uid, asked.calling_ae_title, asked.peer_address, references), now()
    )


def answer(settings: Settings, journal: Journal, spool: Spool, open_peer: OpenPeer) -> None:
    """Answer every request that is due, over the way that `open_peer` opens.

    What we commit to stays in the spool for `storage.keep_days` from now.
    """
    for request in journal.unanswered(now()):
        committed = [r for r in request.references if _holds(journal, spool, *r)]
        if settings.storage.keep_days:
            journal.hold([uid for _, uid in committed], now() + timedelta(days=settings.storage.keep_days))
        report = CommitReport(
            request.transaction_uid,
            tuple(Reference(*r) for r in committed),
            tuple(_missing(request, committed)),
        )
        peer = _peer(settings, request.calling_ae_title)
        sent = open_peer(settings, peer, request.peer_address).report_commitment(report) if peer else None
        if sent and sent.outcome in ("ACCEPTED", "WARNING"):
            journal.answered(request, [u for _, u in committed], [r.sop_instance_uid for r, _ in report.failed], now())
        else:
            last = peer is None or request.attempts >= MOST_ANSWERS
            journal.not_answered(request, None if last else now() + timedelta(seconds=AGAIN_SECONDS))
            comment = sent.comment if sent else NOWHERE
            log.get().warning("commitment not answered", peer=request.calling_ae_title, comment=comment, last=last)


def _peer(settings: Settings, ae_title: str) -> PeerSettings | None:
    """Whom the report goes to: the requester's own listening port is nowhere in its request."""
    return next((p for p in settings.peer if p.ae_title == ae_title and p.port), None)


def _holds(journal: Journal, spool: Spool, sop_class_uid: str, sop_instance_uid: str) -> bool:
    """Whether the object is here, with the bytes that were received."""
    held = journal.holds(sop_class_uid, sop_instance_uid)
    try:
        return held is not None and bool(spool.verified(held.spool_name, held.sha256))
    except SpoolDamaged:
        return False


def _missing(request: PendingCommitRequest, committed: Sequence[tuple[str, str]]) -> Iterator[tuple[Reference, int]]:
    for reference in request.references:
        if reference not in committed:
            yield Reference(*reference), int(Status.NO_SUCH_OBJECT_INSTANCE)
