"""Versions of an object: one is in use under a SOP Instance UID, and the others are kept beside it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import exists, insert, select, update

from storage.journal.transactions import Transaction, analyse_again, begin_study
from storage.records import ReceivedObject, State
from storage.schema import conflict, instance, study

#: What an instance and a conflict both say of the file that they stand for.
ORIGIN = ("spool_name", "size", "sha256", "calling_ae_title", "peer_address", "received_at")
#: What a study takes over from the headers of its objects.
IDENTITY = ("patient_id", "accession_number", "study_date", "modality")


def is_superseded(tx: Transaction, obj: ReceivedObject) -> bool:
    """Whether these bytes were in use until a correction took their place: who repeats them says nothing new."""
    known = exists().where(
        conflict.c.sop_instance_uid == obj.sop_instance_uid,
        conflict.c.sha256 == obj.spooled.sha256,
        conflict.c.state == "SUPERSEDED",
    )
    return bool(tx.sql.execute(select(known)).scalar())


def supersede(tx: Transaction, held: Any, obj: ReceivedObject, origin: Mapping[str, Any], now: datetime) -> None:
    """Put a corrected object into use and keep the one that was in use; its study is analysed again."""
    old_uid = tx.study(held.study_id).study_instance_uid
    aside = {name: getattr(held, name) for name in ORIGIN}
    aside |= {"study_instance_uid": old_uid, "sop_instance_uid": held.sop_instance_uid, "state": "SUPERSEDED"}
    tx.sql.execute(insert(conflict).values(**aside))
    put_into_use(tx, held, obj, origin, "CORRECTED", obj.calling_ae_title, now)


def put_into_use(
    tx: Transaction,
    held: Any,
    obj: ReceivedObject,
    origin: Mapping[str, Any],
    event: str,
    actor: str,
    now: datetime,
) -> None:
    """Let an instance's row stand for another file, and analyse its study again.

    `held` is the row, `obj` what the header in the other file says, `origin` the `ORIGIN` of that file. If the header
    names another study, the SOP Instance UID moves there, and the study that it leaves is analysed again too.
    """
    detail = {"sha256": origin["sha256"], "replaced": held.sha256}
    old, new_id = tx.study(held.study_id), _study_of(tx, obj, now)
    values = {name: origin[name] for name in ORIGIN}
    values |= {name: getattr(obj, name) for name in ("series_instance_uid", "sop_class_uid", "transfer_syntax_uid")}
    blank = {"verdict": "", "reason": "", "excluded": 0}
    tx.sql.execute(update(instance).where(instance.c.id == held.id).values(study_id=new_id, **values, **blank))
    tx.change(new_id, last_received_at=now, **{name: getattr(obj, name) for name in IDENTITY})
    analyse_again(tx, tx.study(new_id), event, now, actor, held.sop_instance_uid, detail)
    if new_id != old.id:
        _leave(tx, old, event, actor, held.sop_instance_uid, detail, now)


def _study_of(tx: Transaction, obj: ReceivedObject, now: datetime) -> int:
    """Return the key of the study that the object names, after adding the study if it is unknown."""
    key = select(study.c.id).where(study.c.study_instance_uid == obj.study_instance_uid)
    found = tx.sql.execute(key).scalar()
    return begin_study(tx, obj, now) if found is None else int(found)


def _leave(
    tx: Transaction, old: Any, event: str, actor: str, moved_uid: str, detail: dict[str, Any], now: datetime
) -> None:
    """Analyse the study that an object moved out of again, or ignore it if no image is left."""
    if tx.sql.execute(select(exists().where(instance.c.study_id == old.id))).scalar():
        analyse_again(tx, old, event, now, actor, moved_uid, detail)
        return
    reason = "its only image now belongs to another study"
    tx.move(old, State.IGNORED, event, now, actor=actor, reason=reason, detail=detail, claimed_by="")
