"""Notifications: written with the analysis that raised the alert, and kept until they were sent or given up."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import bindparam, func, insert, select, text, update

from storage.database import reading
from storage.journal.transactions import Book, Transaction
from storage.notices import UNTOLD, Notice, Notification, Raised, notification
from storage.records import Attempt, Sending
from storage.schema import delivery, study

URGENT = 0

_DUE = (
    select(
        notification.c.id,
        notification.c.message_id,
        notification.c.study_id,
        study.c.study_instance_uid,
        study.c.patient_id,
        study.c.accession_number,
        study.c.received_at,
        notification.c.content,
        notification.c.attempts,
        notification.c.created_at,
    )
    .join(study, study.c.id == notification.c.study_id)
    .where(text(UNTOLD), notification.c.notifier == bindparam("to"), notification.c.next_attempt_at <= bindparam("now"))
    .order_by(notification.c.attempts, notification.c.id)
    .limit(bindparam("number"))
)
_ONE = (
    select(notification, study.c.study_instance_uid)
    .join(study, study.c.id == notification.c.study_id)
    .where(notification.c.id == bindparam("key"))
)
_CHANGE = update(notification).where(notification.c.id == bindparam("key"))


class Notifications(Book):
    """The journal's methods for the notifying process."""

    def notifications_due(self, notifier: str, now: datetime, limit: int) -> list[Notification]:
        """Return at most `limit` notifications that a notifier has to send now, those that failed least first."""
        with reading(self._engine) as connection:
            rows = connection.execute(_DUE, {"to": notifier, "now": now, "number": limit}).mappings()
            return [Notification(**row) for row in rows]

    def notified(self, attempt: Attempt, now: datetime) -> None:
        """Record how an attempt to send a notification ended; `attempt.delivery_id` is the notification's key.

        With `attempt.next_attempt_at` it stays pending until then. Each attempt has a row in the audit trail.
        """
        with self._transaction("notified") as tx:
            row = tx.sql.execute(_ONE, {"key": attempt.delivery_id}).one()
            if row.state != "PENDING":
                return  # recorded already, by a commit whose answer was lost
            values: dict[str, Any] = {"attempts": row.attempts + 1, "comment": attempt.sent.comment}
            if attempt.next_attempt_at is not None:
                values |= {"next_attempt_at": attempt.next_attempt_at}
            else:
                values |= {"state": str(Sending(attempt.sent.outcome)), "finished_at": now}
            tx.sql.execute(_CHANGE, {"key": row.id, **values})
            detail = {"outcome": str(attempt.sent.outcome), "message_id": row.message_id, "attempts": row.attempts + 1}
            detail |= {"comment": attempt.sent.comment} if attempt.sent.comment else {}
            uid = row.study_instance_uid
            tx.trail.add("NOTIFICATION", now, actor=row.notifier, study_instance_uid=uid, detail=detail)

    def postpone_notifications(self, notifier: str, until: datetime) -> int:
        """Delay what a notifier that reaches nobody has to send until `until`; return how many were delayed."""
        with self._transaction("postpone_notifications") as tx:
            waiting = (notification.c.state == "PENDING") & (notification.c.notifier == notifier)
            sooner = notification.c.next_attempt_at < until
            return tx.sql.execute(update(notification).where(waiting, sooner).values(next_attempt_at=until)).rowcount

    def notification_counts(self) -> dict[tuple[str, str], int]:
        """Return how many notifications there are, by notifier and state."""
        columns = notification.c.notifier, notification.c.state
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns, func.count()).group_by(*columns))
            return {(row[0], row[1]): row[2] for row in rows}


def raise_alerts(tx: Transaction, row: Any, raised: Raised, now: datetime) -> None:
    """Put a study before others, with its deliveries, and write down who is to be told.

    A notifier that was told the same of this study by an earlier analysis is not told again.
    """
    tx.change(row.id, priority=URGENT)
    waiting = (delivery.c.study_id == row.id) & (delivery.c.state == "PENDING")
    tx.sql.execute(update(delivery).where(waiting).values(priority=URGENT))
    new = [notice for notice in raised.notices if _says_more(tx, row.id, notice)]
    if new:
        tx.sql.execute(insert(notification), [_row(row.id, notice, now) for notice in new])
    detail = {"alerts": list(raised.alerts), "notifiers": [notice.notifier for notice in new]}
    tx.trail.add("ALERTED", now, actor="hilum", study_instance_uid=row.study_instance_uid, detail=detail)


def _says_more(tx: Transaction, study_id: int, notice: Notice) -> bool:
    """Whether a notice names a finding, or a call of it, that this notifier has not been told of this study."""
    of_study = (notification.c.study_id == study_id) & (notification.c.notifier == notice.notifier)
    earlier = tx.sql.execute(select(notification.c.content).where(of_study)).scalars()
    return not _calls(notice.content) <= {call for content in earlier for call in _calls(content)}


def _calls(content: dict[str, Any]) -> set[tuple[str, str]]:
    return {(found["finding"], found["call"]) for found in content["findings"]}


def _row(study_id: int, notice: Notice, now: datetime) -> dict[str, Any]:
    return {
        "message_id": str(uuid4()),
        "study_id": study_id,
        "notifier": notice.notifier,
        "content": notice.content,
        "state": "PENDING",
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
        "comment": "",
    }
