"""Result objects go out: what is due, how it went, what is tried again."""

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
    """The journal's verbs for the deliverer."""

    def due(self, destination: str, now: datetime, limit: int) -> list[Delivery]:
        """What is to be sent to a destination now: by priority, then age; at most `limit`."""
        with reading(self._engine) as connection:
            # The due ones are found in the index before any object's bytes are read.
            found = connection.execute(_DUE_IDS, {"to": destination, "now": now, "number": limit}).scalars().all()
            if not found:
                return []
            rows = connection.execute(_DUE.where(delivery.c.id.in_(found))).mappings()
            return [Delivery(**row) for row in rows]

    def next_due(self, destination: str) -> datetime | None:
        """When the next delivery to a destination is due, which may be in the past; None if there is none."""
        query = select(func.min(delivery.c.next_attempt_at)).where(text(PENDING), delivery.c.destination == destination)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar()

    def sent(self, attempt: Attempt, now: datetime) -> None:
        """Write down how an attempt to deliver ended. After UNREACHABLE the object stays pending until its next time.

        With a study's last delivery the study moves on: DELIVERED, or QUARANTINED where one was refused.
        """
        self.sent_many([attempt], now)

    def sent_many(self, attempts: Sequence[Attempt], now: datetime) -> None:
        """As `sent`, for several in one transaction."""
        if not attempts:
            return
        with self._transaction("sent") as tx:
            studies = {key: None for attempt in attempts if (key := _write(tx, attempt, now)) is not None}
            for study_id in studies:
                conclude_deliveries(tx, tx.study(study_id), now)

    def postpone(self, destination: str, until: datetime) -> int:
        """Nothing is due for a destination, which is not to be reached, before `until`; how many now wait longer."""
        return self._reschedule(
            "postpone", (delivery.c.destination == destination) & (delivery.c.next_attempt_at < until), until
        )

    def resume(self, destination: str, now: datetime) -> int:
        """All that waits for a destination, which is to be reached again, is due at once; how many."""
        return self._reschedule(
            "resume", (delivery.c.destination == destination) & (delivery.c.next_attempt_at > now), now
        )

    def _reschedule(self, verb: str, which: ColumnElement[bool], at: datetime) -> int:
        with self._transaction(verb) as tx:
            return tx.sql.execute(
                update(delivery).where(text(PENDING.removeprefix("delivery.")), which).values(next_attempt_at=at)
            ).rowcount

    def retry(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> int:
        """Refused and pending deliveries of a study are due at once; how many. Raises `UnknownStudy`."""
        with self._transaction("retry") as tx:
            row = tx.study_by_uid(study_instance_uid)
            refused = deliver_again(tx, row.id, now)
            pending = update(delivery).where(delivery.c.study_id == row.id, delivery.c.state == "PENDING")
            number = tx.sql.execute(pending.values(next_attempt_at=now)).rowcount
            if refused and row.state == State.QUARANTINED:
                tx.move(row, State.ANALYSED, "RETRIED", now, actor=actor, delivered_at=None)
            else:
                detail = {"deliveries": number}
                tx.trail.add("RETRIED", now, actor=actor, study_instance_uid=study_instance_uid, detail=detail)
            return number


def _write(tx: Transaction, attempt: Attempt, now: datetime) -> int | None:
    """One attempt's end; the study's key if the delivery came to its end with it."""
    row = tx.sql.execute(_OUTCOME, {"key": attempt.delivery_id}).one()
    if row.state != "PENDING":
        return None  # said before: the answer to a commit got lost, or a person cancelled it
    sent = attempt.sent
    values = {"key": row.id, "attempts": row.attempts + 1, "status": sent.status, "comment": sent.comment}
    if sent.outcome == Sending.UNREACHABLE:
        if attempt.next_attempt_at is None:
            raise ValueError("found no next_attempt_at for an unreachable destination, expected a time")
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
