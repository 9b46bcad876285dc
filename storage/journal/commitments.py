"""Storage commitment (PS3.4 Annex J) in both roles: requests to destinations (SCU), requests of modalities (SCP)."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, insert, select, text, update

from storage.database import reading
from storage.journal.transactions import Book, Transaction, conclude_deliveries
from storage.records import PendingCommitRequest, Uncommitted
from storage.schema import UNCOMMITTED, commit_request, commitment, delivery, instance, result_object, study

_UNCOMMITTED = (
    select(
        delivery.c.id.label("delivery_id"),
        study.c.study_instance_uid,
        delivery.c.destination,
        result_object.c.sop_class_uid,
        result_object.c.sop_instance_uid,
        delivery.c.transaction_uid,
        delivery.c.commit_requests.label("requests"),
        delivery.c.commit_requested_at.label("requested_at"),
    )
    .join(result_object, result_object.c.id == delivery.c.object_id)
    .join(study, study.c.id == delivery.c.study_id)
    .where(text(UNCOMMITTED), delivery.c.state.in_(("ACCEPTED", "WARNING")))
    .order_by(delivery.c.id)
)
_ASKED = (
    select(delivery, commitment.c.sop_instance_uid)
    .join(commitment, commitment.c.delivery_id == delivery.c.id)
    .where(commitment.c.transaction_uid == bindparam("uid"))
)


class Commitments(Book):
    """The journal's methods for storage commitment."""

    # --- as SCU: destinations are asked to commit to what they accepted ---

    def commit_due(
        self, destination: str, limit: int, asked_before: datetime, max_requests: int = 3
    ) -> list[Uncommitted]:
        """Return objects that a destination accepted and has to be asked to commit to, oldest first.

        These are the objects for which it was not asked yet, and those for which it was last asked before
        `asked_before` and fewer than `max_requests` times, and has not answered.
        """
        again = _silent_since(asked_before) & (delivery.c.commit_requests < max_requests)
        wanted = (delivery.c.commitment == "WANTED") | again
        return self._uncommitted((delivery.c.destination == destination) & wanted, limit)

    def overdue(
        self, asked_before: datetime, max_requests: int, destinations: Collection[str], limit: int = 100
    ) -> list[Uncommitted]:
        """Return objects for which the wait for an answer is over: no further request will be made.

        They were last asked for before `asked_before` without an answer, and either `max_requests` requests were made
        or their destination is no longer among `destinations`, the configured ones.
        """
        in_vain = (delivery.c.commit_requests >= max_requests) | delivery.c.destination.not_in(destinations)
        return self._uncommitted(_silent_since(asked_before) & in_vain, limit)

    def _uncommitted(self, which: ColumnElement[bool], limit: int) -> list[Uncommitted]:
        with reading(self._engine) as connection:
            return [Uncommitted(**row) for row in connection.execute(_UNCOMMITTED.where(which).limit(limit)).mappings()]

    def commit_requested(self, transaction_uid: str, delivery_ids: Sequence[int], now: datetime) -> None:
        """Record that a destination is asked to commit to these deliveries; called before the request is sent."""
        with self._transaction("commit_requested") as tx:
            uids = select(delivery.c.id, result_object.c.sop_instance_uid).join(
                result_object, result_object.c.id == delivery.c.object_id
            )
            rows = [
                {"transaction_uid": transaction_uid, "delivery_id": row.id, "sop_instance_uid": row.sop_instance_uid}
                for row in tx.sql.execute(uids.where(delivery.c.id.in_(delivery_ids)))
            ]
            tx.sql.execute(insert(commitment), rows)
            values = {"transaction_uid": transaction_uid, "commitment": "REQUESTED", "commit_requested_at": now}
            asked = update(delivery).where(delivery.c.id.in_(delivery_ids))
            tx.sql.execute(asked.values(commit_requests=delivery.c.commit_requests + 1, **values))
            detail = {"transaction_uid": transaction_uid, "objects": [row["sop_instance_uid"] for row in rows]}
            tx.trail.add("COMMIT_REQUESTED", now, actor="hilum", detail=detail)

    def committed(
        self,
        transaction_uid: str,
        ok: Collection[str],
        failed: Collection[tuple[str, int]],
        now: datetime,
        resend: Collection[int] = (),
        max_requests: int = 3,
    ) -> bool:
        """Record a destination's answer. Return False if no request with this Transaction UID was ever made.

        `ok` holds SOP Instance UIDs, `failed` pairs of SOP Instance UID and Failure Reason (0008,1197). A failed object
        whose reason is in `resend` is sent and asked for again, until `max_requests` requests were made; otherwise its
        study is quarantined. An answer may come twice, late, or to an earlier request.
        """
        with self._transaction("committed") as tx:
            rows = {row.sop_instance_uid: row for row in tx.sql.execute(_ASKED, {"uid": transaction_uid})}
            for uid in ok:
                if uid in rows and rows[uid].commitment != "COMMITTED":
                    _set(tx, rows[uid].id, commitment="COMMITTED")
            for uid, reason in failed:
                if uid in rows and rows[uid].commitment == "REQUESTED":
                    again = reason in resend and rows[uid].commit_requests < max_requests
                    _failed(tx, rows[uid].id, again, f"storage commitment failed: 0x{reason:04X}", now)
            if rows:
                answer = {"committed": [uid for uid in ok if uid in rows], "failed": [list(f) for f in failed]}
                actor = next(iter(rows.values())).destination
                tx.trail.add("COMMIT_REPORT", now, actor=actor, detail={"transaction_uid": transaction_uid, **answer})
            _conclude(tx, {row.study_id for row in rows.values()}, now)
            return bool(rows)

    def commit_failed(self, delivery_ids: Sequence[int], reason: str, now: datetime) -> None:
        """Stop waiting for an answer: quarantine the studies, with this reason as the comment of their deliveries."""
        with self._transaction("commit_failed") as tx:
            query = select(delivery).where(delivery.c.id.in_(delivery_ids), text(UNCOMMITTED))
            rows = tx.sql.execute(query).all()
            for row in rows:
                _failed(tx, row.id, False, reason, now)
            _conclude(tx, {row.study_id for row in rows}, now)

    # --- as SCP: a modality asks us ---

    def remember_request(self, request: PendingCommitRequest, now: datetime) -> bool:
        """Record a request before it is acknowledged; its answer is due at once. Return False if it is known."""
        with self._transaction("remember_request") as tx:
            same = (commit_request.c.transaction_uid == request.transaction_uid) & (
                commit_request.c.calling_ae_title == request.calling_ae_title
            )
            if tx.sql.execute(select(commit_request.c.id).where(same)).first():
                return False
            values = {
                "transaction_uid": request.transaction_uid,
                "calling_ae_title": request.calling_ae_title,
                "peer_address": request.peer_address,
                "objects": [list(reference) for reference in request.references],
            }
            tx.sql.execute(insert(commit_request).values(received_at=now, attempts=0, due_at=now, **values))
            detail = {"transaction_uid": request.transaction_uid, "objects": len(request.references)}
            tx.trail.add("COMMIT_ASKED", now, actor=request.calling_ae_title, detail=detail)
            return True

    def unanswered(self, now: datetime, limit: int = 100) -> list[PendingCommitRequest]:
        """Return requests whose answer is due, oldest first."""
        query = select(commit_request).where(commit_request.c.due_at <= now).order_by(commit_request.c.id).limit(limit)
        with reading(self._engine) as connection:
            return [
                PendingCommitRequest(
                    row.transaction_uid,
                    row.calling_ae_title,
                    row.peer_address,
                    tuple((class_uid, uid) for class_uid, uid in row.objects),
                    row.id,
                    row.attempts,
                )
                for row in connection.execute(query)
            ]

    def hold(self, sop_instance_uids: Sequence[str], until: datetime) -> None:
        """Keep these objects in the spool at least until `until`; called before a modality is promised that."""
        with self._transaction("hold") as tx:
            shorter = instance.c.held_until.is_(None) | (instance.c.held_until < until)
            held = update(instance).where(instance.c.sop_instance_uid.in_(sop_instance_uids), shorter)
            tx.sql.execute(held.values(held_until=until))

    def answered(self, request: PendingCommitRequest, ok: Sequence[str], failed: Sequence[str], now: datetime) -> None:
        """Record that the answer, with these SOP Instance UIDs, has reached the modality."""
        with self._transaction("answered") as tx:
            done = update(commit_request).where(commit_request.c.id == request.id)
            tx.sql.execute(done.values(due_at=None, attempts=commit_request.c.attempts + 1))
            detail = {"transaction_uid": request.transaction_uid, "committed": list(ok), "failed": list(failed)}
            tx.trail.add("COMMIT_ANSWERED", now, actor=request.calling_ae_title, detail=detail)

    def not_answered(self, request: PendingCommitRequest, next_attempt_at: datetime | None) -> None:
        """Record that the answer did not reach the modality. The next attempt is at `next_attempt_at`; None: never."""
        with self._transaction("not_answered") as tx:
            failed = update(commit_request).where(commit_request.c.id == request.id)
            tx.sql.execute(failed.values(due_at=next_attempt_at, attempts=commit_request.c.attempts + 1))


def _silent_since(asked_before: datetime) -> ColumnElement[bool]:
    return (delivery.c.commitment == "REQUESTED") & (delivery.c.commit_requested_at < asked_before)


def _set(tx: Transaction, delivery_id: int, **values: object) -> None:
    tx.sql.execute(update(delivery).where(delivery.c.id == delivery_id).values(**values))


def _failed(tx: Transaction, delivery_id: int, again: bool, comment: str, now: datetime) -> None:
    """Record that a destination does not commit to an object, and send the object again or give up."""
    if again:
        values = {"state": "PENDING", "next_attempt_at": now, "finished_at": None}
        _set(tx, delivery_id, commitment="WANTED", comment=comment, **values)
    else:
        _set(tx, delivery_id, commitment="FAILED", comment=comment)


def _conclude(tx: Transaction, study_ids: Collection[int], now: datetime) -> None:
    for study_id in sorted(study_ids):
        conclude_deliveries(tx, tx.study(study_id), now)
