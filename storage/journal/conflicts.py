"""Conflicts: two objects with one SOP Instance UID but other bytes. A person decides which of the two is used."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, select, update

from storage.errors import UnknownConflict
from storage.journal.arrivals import begin_study
from storage.journal.transactions import Book, Transaction, analyse_again
from storage.records import ReceivedObject, State
from storage.schema import conflict, instance, study

_CONFLICT = select(conflict).where(conflict.c.id == bindparam("key"))
_INSTANCE = select(instance).where(instance.c.sop_instance_uid == bindparam("uid"))
_VERSION = ("spool_name", "size", "sha256", "calling_ae_title", "peer_address", "received_at")


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
            detail = {"sha256": other.sha256, "replaced": held.sha256}
            old = tx.study(held.study_id)
            new_id = _study_of(tx, taken, now)
            values = {name: getattr(other, name) for name in _VERSION}
            values |= {name: getattr(taken, name) for name in ("series_instance_uid", "sop_class_uid")}
            values |= {"transfer_syntax_uid": taken.transfer_syntax_uid, "study_id": new_id}
            blank = {"verdict": "", "reason": "", "result": None}
            tx.sql.execute(update(instance).where(instance.c.id == held.id).values(**values, **blank))
            aside = {name: getattr(held, name) for name in _VERSION}
            aside |= {"study_instance_uid": old.study_instance_uid, "state": "REPLACED"}
            tx.sql.execute(update(conflict).where(conflict.c.id == conflict_id).values(**aside))
            _take_identity(tx, new_id, taken)
            analyse_again(tx, tx.study(new_id), "CONFLICT_TAKEN", now, actor, held.sop_instance_uid, detail)
            if new_id != old.id:
                _leave(tx, old, now, actor, held.sop_instance_uid, detail)

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


def _study_of(tx: Transaction, taken: ReceivedObject, now: datetime) -> int:
    """Return the key of the study that the taken object names, after adding the study if it is unknown."""
    key = select(study.c.id).where(study.c.study_instance_uid == taken.study_instance_uid)
    found = tx.sql.execute(key).scalar()
    return begin_study(tx, taken, now) if found is None else int(found)


def _take_identity(tx: Transaction, study_id: int, taken: ReceivedObject) -> None:
    names = ("patient_id", "accession_number", "study_date", "modality")
    tx.change(study_id, **{name: getattr(taken, name) for name in names})


def _leave(tx: Transaction, old: Any, now: datetime, actor: str, moved_uid: str, detail: dict[str, Any]) -> None:
    """Analyse the study that an object moved out of again, or ignore it if no image is left."""
    if tx.sql.execute(select(exists().where(instance.c.study_id == old.id))).scalar():
        analyse_again(tx, old, "CONFLICT_TAKEN", now, actor, moved_uid, detail)
        return
    reason = "its only image was replaced by one of another study"
    tx.move(old, State.IGNORED, "CONFLICT_TAKEN", now, actor=actor, reason=reason, detail=detail, claimed_by="")
