"""The deliveries of result objects: which are due, how each attempt ended, when the next one is made."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, func, select, text, update

from storage.database import reading
from storage.journal.transactions import Book, Transaction, conclude_deliveries, deliver_again
from storage.records import Attempt, Delivery, Sending, State
from storage.schema import PENDING, delivery, result_object, study

_DUE = (
    select(
        delivery.c.id,
        delivery.c.study_id,
        study.c.study_instance_uid,
        delivery.c.destination,
        result_object.c.kind,
        result_object.c.sop_class_uid,
        result_object.c.sop_instance_uid,
        result_object.c.transfer_syntax_uid,
        result_object.c.data,
        delivery.c.attempts,
        delivery.c.created_at,
        delivery.c.failures,
        delivery.c.first_failed_at,
    )
    .join(result_object, result_object.c.id == delivery.c.object_id)
    .join(study, study.c.id == delivery.c.study_id)
    .order_by(delivery.c.priority, delivery.c.id)
)
_OUTCOME = (
    select(delivery, result_object.c.sop_instance_uid, study.c.study_instance_uid)
    .join(result_object, result_object.c.id == delivery.c.object_id)
    .join(study, study.c.id == delivery.c.study_id)
    .where(delivery.c.id == bindparam("key"))
)
_CHANGE = update(delivery).where(delivery.c.id == bindparam("key"))
_DUE_IDS = (
    select(delivery.c.id)
    .where(text(PENDING), delivery.c.destination == bindparam("to"), delivery.c.next_attempt_at <= bindparam("now"))
    .order_by(delivery.c.priority, delivery.c.id)
    .limit(bindparam("number"))
)


class Deliveries(Book):
    """The journal's methods for the delivering process."""

    def due(self, destination: str, now: datetime, limit: int) -> list[Delivery]:
        """Return at most `limit` deliveries that have to be sent to a destination now, by priority, then age."""
        with reading(self._engine) as connection:
            # Find the due ones in the index first, so that only their bytes are read.
            found = connection.execute(_DUE_IDS, {"to": destination, "now": now, "number": limit}).scalars().all()
            if not found:
                return []
            rows = connection.execute(_DUE.where(delivery.c.id.in_(found))).mappings()
            return [Delivery(**row) for row in rows]

    def next_due(self, destination: str) -> datetime | None:
        """Return when the next delivery to a destination is due, which may be in the past; None if none is pending."""
        query = select(func.min(delivery.c.next_attempt_at)).where(text(PENDING), delivery.c.destination == destination)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar()

    def sent(self, attempt: Attempt, now: datetime) -> None:
        """Record how an attempt ended.

        After FAILED and UNREACHABLE the delivery stays pending until `attempt.next_attempt_at`.
        After the last delivery of a study, the study becomes DELIVERED, or QUARANTINED if a delivery was refused.
        Raises ValueError for either of the two without `next_attempt_at`.
        """
        self.sent_many([attempt], now)

    def sent_many(self, attempts: Sequence[Attempt], now: datetime) -> None:
        """As `sent`, for several attempts in one transaction."""
        if not attempts:
            return
        with self._transaction("sent") as tx:
            studies = {key: None for attempt in attempts if (key := _write(tx, attempt, now)) is not None}
            for study_id in studies:
                conclude_deliveries(tx, tx.study(study_id), now)

    def postpone(self, destination: str, until: datetime) -> int:
        """Delay the deliveries to a destination that cannot be reached until `until`; return how many were delayed."""
        return self._reschedule(
            "postpone", (delivery.c.destination == destination) & (delivery.c.next_attempt_at < until), until
        )

    def resume(self, destination: str, now: datetime) -> int:
        """Make all deliveries to a destination that can be reached again due at once; return how many were waiting."""
        return self._reschedule(
            "resume", (delivery.c.destination == destination) & (delivery.c.next_attempt_at > now), now
        )

    def _reschedule(self, verb: str, which: ColumnElement[bool], at: datetime) -> int:
        with self._transaction(verb) as tx:
            return tx.sql.execute(
                update(delivery).where(text(PENDING.removeprefix("delivery.")), which).values(next_attempt_at=at)
            ).rowcount

    def retry(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> int:
        """Make a study's refused and pending deliveries due at once; return their number. Raises `UnknownStudy`."""
        with self._transaction("retry") as tx:
            row = tx.study_by_uid(study_instance_uid)
            refused = deliver_again(tx, row.id, now)
            pending = update(delivery).where(delivery.c.study_id == row.id, delivery.c.state == "PENDING")
            number = tx.sql.execute(pending.values(next_attempt_at=now)).rowcount
            if refused and row.state == State.QUARANTINED and not row.attempts:  # it was analysed
                tx.move(row, State.ANALYSED, "RETRIED", now, actor=actor, delivered_at=None)
            else:
                detail = {"deliveries": number}
                tx.trail.add("RETRIED", now, actor=actor, study_instance_uid=study_instance_uid, detail=detail)
            return number


def _write(tx: Transaction, attempt: Attempt, now: datetime) -> int | None:
    """Record the end of one attempt. Return the study's key if the delivery is finished by it, otherwise None."""
    row = tx.sql.execute(_OUTCOME, {"key": attempt.delivery_id}).one()
    if row.state != "PENDING":
        return None  # recorded already, by a commit whose answer was lost; or a person cancelled it
    sent = attempt.sent
    values = {"key": row.id, "attempts": row.attempts + 1, "status": sent.status, "comment": sent.comment}
    if sent.outcome == Sending.FAILED:
        values |= {"failures": row.failures + 1, "first_failed_at": row.first_failed_at or now}
    if sent.outcome in (Sending.FAILED, Sending.UNREACHABLE):
        if attempt.next_attempt_at is None:
            raise ValueError(f"found no next_attempt_at after {sent.outcome}, expected a time")
        tx.sql.execute(_CHANGE, {"next_attempt_at": attempt.next_attempt_at, **values})
        return None
    tx.sql.execute(_CHANGE, {"state": str(Sending(sent.outcome)), "finished_at": now, **values})
    tx.trail.add(
        "SENT",
        now,
        actor=row.destination,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        detail={"outcome": sent.outcome, "status": sent.status, "attempts": row.attempts + 1},
    )
    return int(row.study_id)
