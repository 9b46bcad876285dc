"""Remembers how far a reader of the audit trail, such as a syslog server, has come, and returns what follows.

The position is stored in the database. After a crash a reader gets every row again that it had not confirmed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import URL, Connection, Engine, insert, select, update

from storage.database import reading, writing
from storage.schema import audit, audit_head, delivery, outbox, result_object, study


@dataclass(frozen=True)
class Sendable:
    """A result object and the destination that it is to be sent to."""

    destination: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class OutboxEntry:
    """An audit row, with what the other tables hold about its study and its result objects."""

    id: int
    at: datetime
    event: str
    study_instance_uid: str
    sop_instance_uid: str
    actor: str
    detail: dict[str, Any]
    digest: str
    patient_id: str = ""
    accession_number: str = ""
    sop_class_uid: str = ""
    """SOP Class UID of `sop_instance_uid`, if that is a result object made by hilum; otherwise empty."""
    begun: tuple[Sendable, ...] = ()
    """The deliveries that were written in the same transaction as this row."""


class Outbox:
    """The position of each reader of the audit trail, and the rows that follow it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pending(self, reader: str, limit: int) -> list[OutboxEntry]:
        """Return the oldest rows that `reader` has not confirmed; at most `limit`."""
        with reading(self._engine) as connection:
            after = _confirmed(connection, reader)
            query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
            rows = connection.execute(query).all()
            return _entries(connection, rows) if rows else []

    def waiting(self, reader: str) -> int:
        """Return the number of rows that `reader` has not confirmed."""
        with reading(self._engine) as connection:
            newest = connection.execute(select(audit_head.c.id)).scalar() or 0
            return max(0, newest - _confirmed(connection, reader))

    def confirm(self, reader: str, audit_id: int) -> None:
        """Record that `reader` has all rows up to and including `audit_id`."""
        with writing(self._engine) as connection:
            moved = connection.execute(update(outbox).where(outbox.c.reader == reader).values(audit_id=audit_id))
            if not moved.rowcount:
                connection.execute(insert(outbox).values(reader=reader, audit_id=audit_id))

    def uri(self) -> str:
        """Return the URI of the database, without user and password."""
        url = self._engine.url
        return URL.create(
            url.get_backend_name(), host=url.host, port=url.port, database=url.database
        ).render_as_string()


def _confirmed(connection: Connection, reader: str) -> int:
    return connection.execute(select(outbox.c.audit_id).where(outbox.c.reader == reader)).scalar() or 0


def _entries(connection: Connection, rows: Sequence[Any]) -> list[OutboxEntry]:
    studies = {row.study_instance_uid for row in rows if row.study_instance_uid}
    found = select(study.c.study_instance_uid, study.c.patient_id, study.c.accession_number)
    named = {s.study_instance_uid: s for s in connection.execute(found.where(study.c.study_instance_uid.in_(studies)))}
    sent = {row.sop_instance_uid for row in rows if row.event == "SENT"}
    made = select(result_object.c.sop_instance_uid, result_object.c.sop_class_uid)
    classes = {o[0]: o[1] for o in connection.execute(made.where(result_object.c.sop_instance_uid.in_(sent)))}
    begun = _begun(connection, rows)
    return [
        OutboxEntry(
            row.id,
            row.at,
            row.event,
            row.study_instance_uid,
            row.sop_instance_uid,
            row.actor,
            row.detail,
            row.digest,
            patient_id=getattr(named.get(row.study_instance_uid), "patient_id", ""),
            accession_number=getattr(named.get(row.study_instance_uid), "accession_number", ""),
            sop_class_uid=classes.get(row.sop_instance_uid, ""),
            begun=tuple(begun[row.id]),
        )
        for row in rows
    ]


def _begun(connection: Connection, rows: Sequence[Any]) -> dict[int, list[Sendable]]:
    """Return, by audit row, the deliveries written with it: they have its time, and its detail names their objects."""
    analyses = [row for row in rows if row.event in ("ANALYSED", "IGNORED", "ANALYSED_BEFORE")]
    row_of = {(uid, row.at): row.id for row in analyses for uid in row.detail["objects"]}
    columns = (result_object.c.sop_instance_uid, result_object.c.sop_class_uid)
    query = (
        select(*columns, delivery.c.destination, delivery.c.created_at)
        .join(delivery, delivery.c.object_id == result_object.c.id)
        .where(result_object.c.sop_instance_uid.in_({uid for uid, _ in row_of}))
        .order_by(delivery.c.id)
    )
    begun: dict[int, list[Sendable]] = defaultdict(list)
    for found in connection.execute(query):
        if number := row_of.get((found.sop_instance_uid, found.created_at)):
            begun[number].append(Sendable(found.destination, found.sop_class_uid, found.sop_instance_uid))
    return begun
