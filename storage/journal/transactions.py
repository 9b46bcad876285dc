"""A transaction of the journal: every change is committed together with its audit row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, case, insert, select, update

from storage.audit import TrailWriter
from storage.database import writing
from storage.errors import UnknownStudy
from storage.records import ReceivedObject, State
from storage.schema import delivery, study
from storage.spool import no_fault

# Statements that run for every study are built once: SQLAlchemy takes longer to build one than SQLite to run it.
_BY_ID = select(study).where(study.c.id == bindparam("key"))
_BY_UID = select(study).where(study.c.study_instance_uid == bindparam("uid"))
_CHANGE = update(study).where(study.c.id == bindparam("key"))
_NEW_STUDY = insert(study)
_DELIVERIES = (
    select(delivery.c.state, delivery.c.commitment, delivery.c.destination, delivery.c.status, delivery.c.comment)
    .where(delivery.c.study_id == bindparam("key"))
    .order_by(delivery.c.id)
)

FINISHED = (State.ANALYSED, State.DELIVERED, State.COMMITTED, State.IGNORED)
"""The states of a study whose analysis is done, whatever becomes of its deliveries."""

FAULT_VERBS = ("received", "settled", "analysed", "sent")
"""Methods that every study passes; `fault` is called with "journal.<method>:before-commit" and ":after-commit"."""


@dataclass(frozen=True)
class Transaction:
    """An open transaction, and the audit rows that will be committed with it."""

    sql: Connection
    trail: TrailWriter

    def move(
        self,
        row: Row[Any],
        state: str,
        event: str,
        now: datetime,
        *,
        actor: str = "hilum",
        reason: str = "",
        detail: dict[str, Any] | None = None,
        sop_instance_uid: str = "",
        **values: Any,
    ) -> None:
        """Change a study's state and write the audit row. No other code changes the state of a study."""
        self.change(row.id, state=state, reason=reason, **values)
        self.trail.add(
            event,
            now,
            actor=actor,
            study_instance_uid=row.study_instance_uid,
            sop_instance_uid=sop_instance_uid,
            from_state=row.state,
            to_state=state,
            detail={**(detail or {}), **({"reason": reason} if reason else {})},
        )

    def change(self, study_id: int, **values: Any) -> None:
        """Set columns of a study's row other than `state`."""
        self.sql.execute(_CHANGE, {"key": study_id, **values})

    def study(self, study_id: int) -> Row[Any]:
        """Return a study's row by its key."""
        return self.sql.execute(_BY_ID, {"key": study_id}).one()

    def study_by_uid(self, study_instance_uid: str) -> Row[Any]:
        """Return a study's row. Raises `UnknownStudy` if no object of it was ever received."""
        row = self.sql.execute(_BY_UID, {"uid": study_instance_uid}).one_or_none()
        if row is None:
            raise UnknownStudy(f"no study {study_instance_uid} in the journal; hilum audit studies lists them")
        return row


class Book:
    """The base class of the journal's parts: opens transactions."""

    def __init__(self, engine: Engine, fault: Callable[[str], None] = no_fault) -> None:
        self._engine = engine
        self._fault = fault

    @contextmanager
    def _transaction(self, verb: str) -> Iterator[Transaction]:
        with writing(self._engine) as connection:
            transaction = Transaction(connection, TrailWriter(connection))
            yield transaction
            transaction.trail.write()
            self._fault(f"journal.{verb}:before-commit")
        self._fault(f"journal.{verb}:after-commit")


def conclude_deliveries(tx: Transaction, row: Row[Any], now: datetime) -> None:
    """Give an analysed study the state that follows from its deliveries.

    An IGNORED study, which may have a report to deliver, keeps its state unless it has to be quarantined.
    """
    if row.state not in FINISHED:
        return
    rows = tx.sql.execute(_DELIVERIES, {"key": row.id}).all()
    state, reason = _state_by(rows)
    if row.state == State.IGNORED and state != State.QUARANTINED:
        if state in (State.DELIVERED, State.COMMITTED) and row.delivered_at is None:
            tx.change(row.id, delivered_at=now)
        return
    if state == row.state:
        return
    values: dict[str, Any] = {}
    if state in (State.DELIVERED, State.COMMITTED) and row.delivered_at is None:
        values["delivered_at"] = now
    if state == State.COMMITTED:
        values["committed_at"] = now
    if state == State.ANALYSED:
        values.update(delivered_at=None, committed_at=None)
    tx.move(row, state, state, now, reason=reason or row.reason, **values)


def _state_by(deliveries: Sequence[Any]) -> tuple[str, str]:
    """Return the state that follows from a study's deliveries, and the reason if it is QUARANTINED, otherwise ""."""
    counted = [d for d in deliveries if d.state != "CANCELLED"]
    if not counted or any(d.state == "PENDING" for d in counted):
        return State.ANALYSED, ""
    refused = next((d for d in counted if d.state == "REFUSED"), None)
    if refused is not None:
        status = "" if refused.status is None else f" with status 0x{refused.status:04X}"
        words = f": {refused.comment}" if refused.comment else ""
        return State.QUARANTINED, f"refused by {refused.destination}{status}{words}"
    failed = next((d for d in counted if d.commitment == "FAILED"), None)
    if failed is not None:
        return State.QUARANTINED, f"{failed.destination} does not commit to what it accepted"
    asked = [d for d in counted if d.commitment]
    return (State.COMMITTED if asked and all(d.commitment == "COMMITTED" for d in asked) else State.DELIVERED), ""


def deliver_again(tx: Transaction, study_id: int, now: datetime) -> int:
    """Make deliveries that were refused, or not committed to, due at once as if new; return their number."""
    failed = (delivery.c.state == "REFUSED") | (delivery.c.commitment == "FAILED")
    wanted = case((delivery.c.commitment == "", ""), else_="WANTED")
    values = {"state": "PENDING", "next_attempt_at": now, "finished_at": None, "commit_requests": 0, "failures": 0}
    statement = update(delivery).where(delivery.c.study_id == study_id, failed)
    return tx.sql.execute(statement.values(commitment=wanted, **values)).rowcount


def analyse_again(
    tx: Transaction,
    row: Any,
    event: str,
    now: datetime,
    actor: str,
    sop_instance_uid: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Set a study back to RECEIVED, without attempts and without a claim, and write the audit row."""
    tx.move(
        row,
        State.RECEIVED,
        event,
        now,
        actor=actor,
        detail=detail,
        sop_instance_uid=sop_instance_uid,
        revision=row.revision + 1,
        attempts=0,
        claimed_by="",
        not_before=None,
    )


def begin_study(tx: Transaction, obj: ReceivedObject, now: datetime) -> int:
    """Add a row for the study of this object, which must not have one yet, and return its key."""
    values = {
        "study_instance_uid": obj.study_instance_uid,
        "patient_id": obj.patient_id,
        "accession_number": obj.accession_number,
        "study_date": obj.study_date,
        "modality": obj.modality,
        "state": State.RECEIVED,
        "reason": "",
        "revision": 1,
        "attempts": 0,
        "priority": obj.priority,
        "received_at": now,
        "last_received_at": now,
        "claimed_by": "",
    }
    key = tx.sql.execute(_NEW_STUDY, values).inserted_primary_key
    assert key is not None  # one row was inserted
    return int(key[0])
