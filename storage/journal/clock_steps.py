"""Times that lie wrong because somebody set the clock: waits that would last for hours, or not at all."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, select, update

from storage.database import reading
from storage.journal.transactions import Book
from storage.notices import notification
from storage.records import State
from storage.schema import commit_request, delivery, study

SKEW = timedelta(seconds=2)  # another process may have asked for the time a little later than we did

_RECEIVED = study.c.state == str(State.RECEIVED)
_PENDING = delivery.c.state == "PENDING"
_UNTOLD = notification.c.state == "PENDING"
_REQUESTED = delivery.c.commitment == "REQUESTED"

# Waits are counted from these times, each of which was `now` when it was written.
_SINCE: tuple[tuple[Table, ColumnElement[bool], Column[Any]], ...] = (
    (study, _RECEIVED, study.c.last_received_at),
    (delivery, _PENDING, delivery.c.created_at),
    (delivery, _REQUESTED, delivery.c.commit_requested_at),
    (notification, _UNTOLD, notification.c.created_at),
)
# Something is due at these times.
_DUE: tuple[tuple[Table, ColumnElement[bool], Column[Any]], ...] = (
    (study, _RECEIVED, study.c.not_before),
    (delivery, _PENDING, delivery.c.next_attempt_at),
    (notification, _UNTOLD, notification.c.next_attempt_at),
    (commit_request, commit_request.c.due_at.is_not(None), commit_request.c.due_at),
)


class ClockSteps(Book):
    """The journal's methods for a clock that was set."""

    def bring_forward(self, now: datetime, longest_pause_seconds: float) -> int:
        """Set to `now` what lies further ahead than it can be; return how many times were set.

        These are times in the past by their nature that lie in the future, and due times that are more than
        `longest_pause_seconds` away. Both are left behind when the clock is set back. Something may be tried early, and
        nothing is lost.
        """
        limits = [(rule, now + SKEW) for rule in _SINCE]
        limits += [(rule, now + timedelta(seconds=longest_pause_seconds)) for rule in _DUE]
        with reading(self._engine) as connection:  # most calls find nothing, and these must not delay a writer
            queries = (select(column).where(which, column > limit).limit(1) for (_, which, column), limit in limits)
            if not any(connection.execute(query).first() for query in queries):
                return 0
        with self._transaction("bring_forward") as tx:
            return sum(
                tx.sql.execute(update(table).where(which, column > limit).values({column: now})).rowcount
                for (table, which, column), limit in limits
            )

    def set_forward(self, now: datetime, seconds: float) -> int:
        """The clock was set forward by `seconds`: count the waits for a destination as if it had always been right.

        Without that, results would be given up, and asked for again, earlier. Returns how many times were changed.
        """
        before = now - timedelta(seconds=seconds)
        changed = 0
        with self._transaction("set_forward") as tx:
            for table, which, column in _SINCE[1:]:
                rows = tx.sql.execute(select(table.c.id, column.label("at")).where(which, column <= before)).all()
                for row in rows:
                    later = {column: row.at + timedelta(seconds=seconds)}
                    tx.sql.execute(update(table).where(table.c.id == row.id).values(later))
                changed += len(rows)
        return changed
