"""Studies are taken up for analysis, given back, put aside for a person and taken out again."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from storage.database import reading
from storage.errors import WrongState
from storage.journal.transactions import Book, Transaction, analyse_again, deliver_again
from storage.records import EarlierObject, Instance, State, Study
from storage.schema import delivery, instance, result_object, study

_OPEN = (
    select(study)
    .where(study.c.state == str(State.RECEIVED), study.c.claimed_by == "")
    .order_by(study.c.priority, study.c.received_at, study.c.id)
)


class Studies(Book):
    """The journal's verbs for the analyser, and for the person who looks after quarantine."""

    def settled(
        self, now: datetime, settle_seconds: float, limit: int, worker: str, max_attempts: int = 2
    ) -> list[Study]:
        """Take up studies that got no new instance for `settle_seconds`, before any work on them begins.

        Each is claimed for `worker` and its try counted. First tries come together, at most `limit`; a study that
        was tried before comes alone, so that a crash can be blamed on it; one that was tried `max_attempts` times
        goes to quarantine instead. Order: priority, then age.
        """
        ready = and_(
            study.c.last_received_at <= now - timedelta(seconds=settle_seconds),
            or_(study.c.not_before.is_(None), study.c.not_before <= now),
        )
        with reading(self._engine) as connection:  # most calls find nothing and must not hold up a writer
            if connection.execute(_OPEN.where(ready).limit(1)).first() is None:
                return []
        with self._transaction("settled") as tx:
            chosen = _choose(tx, ready, limit, max_attempts, now)
            ids = [row.id for row in chosen]
            claim = update(study).where(study.c.id.in_(ids))
            tx.sql.execute(claim.values(claimed_by=worker, attempts=study.c.attempts + 1, not_before=None))
            return _load(tx.sql, chosen)

    def release_claims(self, worker: str) -> int:
        """At the start of a worker: open again what it had taken up when it died. Tries stay counted."""
        with self._transaction("release_claims") as tx:
            claimed = (study.c.state == str(State.RECEIVED)) & (study.c.claimed_by == worker)
            return tx.sql.execute(update(study).where(claimed).values(claimed_by="")).rowcount

    def forgive_claims(self, life: str) -> int:
        """At the start of a daemon: open again what an earlier one had taken up when all of it ended at once.

        No study is to blame for that: the try does not count. Claims of this daemon's workers end in `life`.
        """
        with self._transaction("forgive_claims") as tx:
            earlier = (
                (study.c.state == str(State.RECEIVED))
                & (study.c.claimed_by != "")
                & ~study.c.claimed_by.endswith(life, autoescape=True)
            )
            opened = {"claimed_by": "", "attempts": study.c.attempts - 1}
            return tx.sql.execute(update(study).where(earlier).values(opened)).rowcount

    def unclaim(self, study_id: int, now: datetime, not_before: datetime, reason: str) -> None:
        """Give a study back for a later try, for trouble that is not its own; this try does not count."""
        with self._transaction("unclaim") as tx:
            row = tx.study(study_id)
            if not row.claimed_by:
                return
            values = {"claimed_by": "", "attempts": max(row.attempts - 1, 0), "not_before": not_before}
            tx.change(study_id, reason=reason, **values)

    def quarantine(self, study_id: int, reason: str, now: datetime, kind: str = "") -> None:
        """Put a study aside for a person. `reason` holds no patient data; `kind`: of the security event that it is."""
        with self._transaction("quarantine") as tx:
            row = tx.study(study_id)
            if row.state != State.QUARANTINED:
                detail = {"kind": kind} if kind else None
                tx.move(row, State.QUARANTINED, "QUARANTINED", now, reason=reason, detail=detail, claimed_by="")

    def release(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Out of quarantine: refused deliveries are due again; without any, the study is analysed again.

        Raises `UnknownStudy`, and `WrongState` for a study that is not in quarantine.
        """
        with self._transaction("release") as tx:
            row = _quarantined(tx, study_instance_uid)
            if deliver_again(tx, row.id, now):
                tx.move(row, State.ANALYSED, "RELEASED", now, actor=actor, delivered_at=None)
            else:
                analyse_again(tx, row, "RELEASED", now, actor)

    def discard(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Out of quarantine for good: IGNORED, and what was still to be delivered is not.

        Raises `UnknownStudy`, and `WrongState` for a study that is not in quarantine.
        """
        with self._transaction("discard") as tx:
            row = _quarantined(tx, study_instance_uid)
            undelivered = delivery.c.state.in_(("PENDING", "REFUSED"))
            cancel = update(delivery).where(delivery.c.study_id == row.id, undelivered)
            tx.sql.execute(cancel.values(state="CANCELLED", finished_at=now, commitment=""))
            tx.move(row, State.IGNORED, "DISCARDED", now, actor=actor, reason=f"discarded: {row.reason}")

    def replay(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Analyse a study again from the spool. Raises `UnknownStudy`, and `WrongState` while its files are gone."""
        with self._transaction("replay") as tx:
            row = tx.study_by_uid(study_instance_uid)
            gone = exists().where(instance.c.study_id == row.id, instance.c.spool_name == "")
            if tx.sql.execute(select(gone)).scalar():
                raise WrongState("the study's images are no longer in the spool, their time was over: send them again")
            analyse_again(tx, row, "REPLAYED", now, actor)


def _quarantined(tx: Transaction, study_instance_uid: str) -> Any:
    row = tx.study_by_uid(study_instance_uid)
    if row.state != State.QUARANTINED:
        raise WrongState(f"found the study in state {row.state}, expected QUARANTINED")
    return row


def _choose(tx: Transaction, ready: ColumnElement[bool], limit: int, max_attempts: int, now: datetime) -> list[Any]:
    """The studies to take up now; on the way the ones that were tried too often go to quarantine."""
    chosen: list[Any] = []
    for row in tx.sql.execute(_OPEN.where(ready).limit(limit)).all():
        if row.attempts >= max_attempts:
            reason = f"analysis died {'twice' if row.attempts == 2 else f'{row.attempts} times'}: see the log"
            tx.move(row, State.QUARANTINED, "QUARANTINED", now, reason=reason)
        elif row.attempts == 0:
            chosen.append(row)
        elif not chosen:
            return [row]
    return chosen


def _load(connection: Connection, rows: Sequence[Any]) -> list[Study]:
    """The studies with their images and the result objects made so far."""
    ids = [row.id for row in rows]
    instances: dict[int, list[Instance]] = defaultdict(list)
    images = select(instance).where(instance.c.study_id.in_(ids)).order_by(instance.c.id)
    for i in connection.execute(images):
        instances[i.study_id].append(
            Instance(
                i.id,
                i.sop_class_uid,
                i.sop_instance_uid,
                i.series_instance_uid,
                i.transfer_syntax_uid,
                i.spool_name,
                i.sha256,
            )
        )
    earlier = _load_earlier(connection, ids)
    return [
        Study(
            row.id,
            row.study_instance_uid,
            row.revision,
            row.attempts + 1,
            row.received_at,
            tuple(instances[row.id]),
            tuple(earlier[row.id]),
            row.priority,
        )
        for row in rows
    ]


def _load_earlier(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[EarlierObject]]:
    """The result objects made so far of each study, newest last."""
    columns = [result_object.c[name] for name in ("id", "study_id", "kind", "sop_class_uid", "sop_instance_uid")]
    made = (
        select(*columns, delivery.c.destination)
        .outerjoin(delivery, delivery.c.object_id == result_object.c.id)
        .where(result_object.c.study_id.in_(study_ids))
        .order_by(result_object.c.id)
    )
    objects: dict[int, list[EarlierObject]] = defaultdict(list)
    for _, rows in groupby(connection.execute(made), key=lambda row: row.id):
        first, *others = rows
        destinations = frozenset(row.destination for row in (first, *others) if row.destination is not None)
        made_before = EarlierObject(first.kind, first.sop_class_uid, first.sop_instance_uid, destinations)
        objects[first.study_id].append(made_before)
    return objects
