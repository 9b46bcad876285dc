"""Removal of what was kept long enough, and the counts for the metrics."""

from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, or_, select, text, update

from storage.database import reading
from storage.journal.transactions import FINISHED, Book
from storage.records import State
from storage.schema import SPOOLED, commit_request, conflict, delivery, instance, study

_REMOVED = update(instance).where(instance.c.id == bindparam("key")).values(spool_name="")


class Retention(Book):
    """The journal's methods for housekeeping and metrics."""

    def expired(self, older_than: datetime, now: datetime, limit: int = 10_000) -> list[str]:
        """Drop the file names of finished studies received before `older_than`; return them, so that the caller can
        remove the files.

        Objects promised to a modality until later than `now`, studies with pending deliveries and quarantined studies
        are kept. The rows stay, except those of objects that were set aside (their digest stays in the audit trail) and
        of answered requests for storage commitment. If the daemon crashes before the files are removed, no row refers
        to them, and `Spool.sweep` removes them at the next start.
        """
        waiting = exists().where(delivery.c.study_id == study.c.id, delivery.c.state == "PENDING")
        query = (
            select(instance.c.id, instance.c.spool_name)
            .join(study, study.c.id == instance.c.study_id)
            .where(text(SPOOLED), instance.c.received_at < older_than, study.c.last_received_at < older_than)
            .where(or_(instance.c.held_until.is_(None), instance.c.held_until <= now))
            .where(study.c.state.in_(FINISHED), ~waiting)
            .limit(limit)
        )
        with self._transaction("expired") as tx:
            rows = tx.sql.execute(query).all()
            if rows:
                tx.sql.execute(_REMOVED, [{"key": row.id} for row in rows])
            answered = commit_request.c.due_at.is_(None) & (commit_request.c.received_at < older_than)
            tx.sql.execute(delete(commit_request).where(answered))
            aside = delete(conflict).where(conflict.c.received_at < older_than).returning(conflict.c.spool_name)
            names = [row.spool_name for row in rows] + list(tx.sql.execute(aside).scalars())
            if names:
                tx.trail.add("EXPIRED", now, actor="hilum", detail={"objects": len(names)})
            return names

    def counts(self) -> dict[str, int]:
        """Return the number of studies in each state."""
        query = select(study.c.state, func.count()).group_by(study.c.state)
        with reading(self._engine) as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {str(state): found.get(state, 0) for state in State}

    def image_counts(self) -> dict[str, int]:
        """Return the number of images by verdict: analysed, ignored, refused, or waiting for a verdict."""
        query = select(instance.c.verdict, func.count()).group_by(instance.c.verdict)
        with reading(self._engine) as connection:
            return {verdict or "waiting": number for verdict, number in connection.execute(query)}

    def delivery_counts(self) -> dict[tuple[str, str], int]:
        """Return the number of deliveries by destination and state; PENDING is the queue."""
        query = select(delivery.c.destination, delivery.c.state, func.count())
        with reading(self._engine) as connection:
            rows = connection.execute(query.group_by(delivery.c.destination, delivery.c.state))
            return {(destination, state): number for destination, state, number in rows}
