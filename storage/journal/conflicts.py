"""Conflicts: two objects with one SOP Instance UID but other bytes. A person decides which of the two is used."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from storage.errors import UnknownConflict
from storage.journal.transactions import Book, Transaction
from storage.journal.versions import ORIGIN, put_into_use
from storage.records import ReceivedObject
from storage.schema import conflict, instance

_CONFLICT = select(conflict).where(conflict.c.id == bindparam("key"))
_INSTANCE = select(instance).where(instance.c.sop_instance_uid == bindparam("uid"))


class Conflicts(Book):
    """The journal's methods for the person who decides a conflict."""

    def take(self, conflict_id: int, taken: ReceivedObject, now: datetime, actor: str = "administrator") -> None:
        """Put the other object into use, in place of the one that was used so far, and analyse its study again.

        `taken` holds the values of the header in the conflict's file. The object that was used so far becomes the
        conflict's, so that a second call undoes the first. If the two objects name different studies, the SOP Instance
        UID moves from one study to the other, and both are analysed again. Raises `UnknownConflict`.
        """
        with self._transaction("take") as tx:
            other, held = _versions(tx, conflict_id)
            aside = {name: getattr(held, name) for name in ORIGIN}
            aside |= {"study_instance_uid": tx.study(held.study_id).study_instance_uid, "state": "REPLACED"}
            tx.sql.execute(update(conflict).where(conflict.c.id == conflict_id).values(**aside))
            origin = {name: getattr(other, name) for name in ORIGIN}
            put_into_use(tx, held, taken, origin, "CONFLICT_TAKEN", actor, now)

    def discard_conflict(self, conflict_id: int, now: datetime, actor: str = "administrator") -> str:
        """Give up the object that is not in use; return the name of its file, which the caller removes.

        The object's digest stays in the audit trail. Raises `UnknownConflict`.
        """
        with self._transaction("discard_conflict") as tx:
            other, _ = _versions(tx, conflict_id)
            tx.sql.execute(delete(conflict).where(conflict.c.id == conflict_id))
            tx.trail.add(
                "CONFLICT_DISCARDED",
                now,
                actor=actor,
                study_instance_uid=other.study_instance_uid,
                sop_instance_uid=other.sop_instance_uid,
                detail={"sha256": other.sha256, "size": other.size},
            )
            return str(other.spool_name)


def _versions(tx: Transaction, conflict_id: int) -> tuple[Any, Any]:
    """Return the row of the conflict, and the row of the instance in use under its SOP Instance UID."""
    other = tx.sql.execute(_CONFLICT, {"key": conflict_id}).one_or_none()
    if other is None:
        raise UnknownConflict(f"there is no conflict {conflict_id}; hilum conflicts list shows those that there are")
    return other, tx.sql.execute(_INSTANCE, {"uid": other.sop_instance_uid}).one()
