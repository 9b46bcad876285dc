"""Received objects: each is new, a duplicate, or in conflict with an earlier object of the same SOP Instance UID."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, insert, or_, select

from storage.database import reading
from storage.journal.transactions import FINISHED, Book, Transaction, begin_study
from storage.journal.versions import IDENTITY, is_superseded, supersede
from storage.records import Arrival, Compared, Held, Likeness, ReceivedObject, State
from storage.schema import conflict, instance, study

_SAME_UID = select(instance).where(instance.c.sop_instance_uid == bindparam("uid"))
_STUDY = select(study).where(study.c.study_instance_uid == bindparam("uid"))
_CONFLICT = select(conflict.c.id).where(
    conflict.c.sop_instance_uid == bindparam("uid"), conflict.c.sha256 == bindparam("sha256")
)
_NEW_INSTANCE = insert(instance)
_HELD = select(instance.c.spool_name, instance.c.sha256).where(
    instance.c.sop_instance_uid == bindparam("uid"),
    instance.c.sop_class_uid == bindparam("class_uid"),
    instance.c.spool_name != "",
)
_KNOWN = select(
    or_(
        exists().where(instance.c.spool_name == bindparam("name")),
        exists().where(conflict.c.spool_name == bindparam("name")),
    )
)


class Arrivals(Book):
    """The journal's methods for the receiver."""

    def received(self, obj: ReceivedObject, now: datetime, compared: Compared | None = None) -> Arrival:
        """Record a received object; when this returns, its row is durable.

        NEW: its study now waits for analysis, and a finished study is opened again. DUPLICATE: only an audit row is
        written. UNCOMPARED: other bytes are in use under this SOP Instance UID; call again with `compared`, which says
        how the two compare. CORRECTED: the object takes the place of the one in use, which is kept, and its study is
        analysed again. CONFLICT: the object is set aside, and the one that came first stays in use. If
        `knows(obj.spooled.name)` is false afterwards, no row refers to the file and the caller removes it. Raises
        `DatabaseUnavailable`; the caller must then keep the file, because the commit may have succeeded.
        """
        with self._transaction("received") as tx:
            return _receive(tx, obj, now, compared)

    def knows(self, spool_name: str) -> bool:
        """Return whether any row refers to this file of the spool."""
        with reading(self._engine) as connection:
            return bool(connection.execute(_KNOWN, {"name": spool_name}).scalar())

    def holds(self, sop_class_uid: str, sop_instance_uid: str) -> Held | None:
        """Return file name and digest of an object that is in the spool under this SOP class; None if there is none."""
        with reading(self._engine) as connection:
            row = connection.execute(_HELD, {"uid": sop_instance_uid, "class_uid": sop_class_uid}).one_or_none()
        return Held(row.spool_name, row.sha256) if row else None

    def in_use(self, sop_instance_uid: str) -> Held:
        """Return file name and digest of the object that is in use; the name is empty if its file was purged."""
        with reading(self._engine) as connection:
            row = connection.execute(_SAME_UID, {"uid": sop_instance_uid}).one()
        return Held(row.spool_name, row.sha256)

    def record(self, event: str, now: datetime, *, actor: str = "hilum", detail: dict[str, Any] | None = None) -> None:
        """Write an audit row that belongs to no study, e.g. a start, a rejected association, or a look at the trail."""
        with self._transaction("record") as tx:
            tx.trail.add(event, now, actor=actor, detail=detail)


def _receive(tx: Transaction, obj: ReceivedObject, now: datetime, compared: Compared | None) -> Arrival:
    same = tx.sql.execute(_SAME_UID, {"uid": obj.sop_instance_uid}).one_or_none()
    if same is None:
        _add(tx, obj, now)
        return Arrival.NEW
    if same.sha256 == obj.spooled.sha256 or is_superseded(tx, obj):
        _note(tx, "DUPLICATE", obj, now)
        return Arrival.DUPLICATE
    if compared is None or compared.sha256 != same.sha256:
        return Arrival.UNCOMPARED
    if compared.likeness is Likeness.SAME:
        _note(tx, "DUPLICATE", obj, now, reason="the same image in other bytes")
        return Arrival.DUPLICATE
    if compared.likeness is Likeness.CORRECTED:
        supersede(tx, same, obj, _origin(obj, now), now)
        return Arrival.CORRECTED
    _set_aside(tx, obj, now)
    return Arrival.CONFLICT


def _add(tx: Transaction, obj: ReceivedObject, now: datetime) -> None:
    row = tx.sql.execute(_STUDY, {"uid": obj.study_instance_uid}).one_or_none()
    if row is None:
        study_id, from_state, to_state = begin_study(tx, obj, now), "", str(State.RECEIVED)
    else:
        study_id, (from_state, to_state) = row.id, _extend_study(tx, row, obj, now)
    values = {
        "study_id": study_id,
        "series_instance_uid": obj.series_instance_uid,
        "sop_class_uid": obj.sop_class_uid,
        "transfer_syntax_uid": obj.transfer_syntax_uid,
        "verdict": "",
        "reason": "",
    }
    tx.sql.execute(_NEW_INSTANCE, {**values, **_origin(obj, now)})
    _note(tx, "RECEIVED", obj, now, from_state, to_state)


def _extend_study(tx: Transaction, row: Any, obj: ReceivedObject, now: datetime) -> tuple[str, str]:
    """Add an image to a known study. Return its old and new state, or two empty strings if the state stays."""
    values: dict[str, Any] = {"last_received_at": now, "priority": min(row.priority, obj.priority)}
    late = row.state in FINISHED
    if late or row.claimed_by:  # the analysis that is done or under way does not include this image
        values["revision"] = row.revision + 1
    if late:
        values.update(state=State.RECEIVED, reason="", attempts=0, not_before=None)
    for name in IDENTITY:
        if not getattr(row, name) and getattr(obj, name):
            values[name] = getattr(obj, name)
    tx.change(row.id, **values)
    return (row.state, State.RECEIVED) if late else ("", "")


def _set_aside(tx: Transaction, obj: ReceivedObject, now: datetime) -> None:
    """Keep the other bytes for a person to look at, once, and write a security event every time."""
    found = tx.sql.execute(_CONFLICT, {"uid": obj.sop_instance_uid, "sha256": obj.spooled.sha256}).one_or_none()
    if found is None:
        values = {"study_instance_uid": obj.study_instance_uid, **_origin(obj, now)}
        tx.sql.execute(insert(conflict).values(values))
    said = "other bytes under a SOP Instance UID that is here"
    _note(tx, "SECURITY", obj, now, kind="uid-conflict", reason=said)


def _origin(obj: ReceivedObject, now: datetime) -> dict[str, Any]:
    return {
        "sop_instance_uid": obj.sop_instance_uid,
        "spool_name": obj.spooled.name,
        "size": obj.spooled.size,
        "sha256": obj.spooled.sha256,
        "calling_ae_title": obj.calling_ae_title,
        "peer_address": obj.peer_address,
        "received_at": now,
    }


def _note(
    tx: Transaction,
    event: str,
    obj: ReceivedObject,
    now: datetime,
    from_state: str = "",
    to_state: str = "",
    **more: str,
) -> None:
    detail = {
        "sop_class_uid": obj.sop_class_uid,
        "peer_address": obj.peer_address,
        "sha256": obj.spooled.sha256,
        "size": obj.spooled.size,
        **more,
    }
    tx.trail.add(
        event,
        now,
        actor=obj.calling_ae_title,
        study_instance_uid=obj.study_instance_uid,
        sop_instance_uid=obj.sop_instance_uid,
        from_state=from_state,
        to_state=to_state,
        detail=detail,
    )
