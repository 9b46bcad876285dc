"""Studies are claimed for analysis, given back, quarantined for a person, and released from quarantine.

A claim is the name of the worker in the column `claimed_by`. A study that is claimed is not given to another worker.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from storage.analyses import ResultObject, analysis
from storage.database import reading
from storage.errors import WrongState
from storage.journal.earlier import corrected_since, load_earlier
from storage.journal.outcomes import write_objects
from storage.journal.transactions import Book, Transaction, analyse_again, deliver_again
from storage.records import Instance, State, Study
from storage.schema import delivery, instance, study

_OPEN = (
    select(study)
    .where(study.c.state == str(State.RECEIVED), study.c.claimed_by == "")
    .order_by(study.c.priority, study.c.received_at, study.c.id)
)


class Studies(Book):
    """The journal's methods for the analysing processes, and for the person who looks after the quarantine."""

    def settled(
        self, now: datetime, settle_seconds: float, limit: int, worker: str, max_attempts: int = 2
    ) -> list[Study]:
        """Claim studies for analysis that got no new instance for `settle_seconds`, by priority, then age.

        Each is claimed for `worker`, and its attempts are counted before any work begins. At most `limit` studies come
        together if all are at their first attempt. A study at a later attempt comes alone, so that a crash can be
        blamed on it. A study that was attempted `max_attempts` times is quarantined instead; it comes alone, too, and
        is `given_up`: it is not to be analysed, but the destinations may be told (`explain`).
        """
        ready = and_(
            study.c.last_received_at <= now - timedelta(seconds=settle_seconds),
            or_(study.c.not_before.is_(None), study.c.not_before <= now),
        )
        with reading(self._engine) as connection:  # most calls find nothing, and these must not delay a writer
            if connection.execute(_OPEN.where(ready).limit(1)).first() is None:
                return []
        with self._transaction("settled") as tx:
            chosen = _choose(tx, ready, limit, max_attempts, now)
            ids = [row.id for row in chosen]
            claim = update(study).where(study.c.id.in_(ids), study.c.state == str(State.RECEIVED))
            tx.sql.execute(claim.values(claimed_by=worker, attempts=study.c.attempts + 1, not_before=None))
            return load_studies(tx.sql, chosen, max_attempts)

    def release_claims(self, worker: str) -> int:
        """Drop the claims that a worker held when it died; called when it starts again. The attempts stay counted."""
        with self._transaction("release_claims") as tx:
            claimed = (study.c.state == str(State.RECEIVED)) & (study.c.claimed_by == worker)
            tx.sql.execute(update(analysis).where(analysis.c.claimed_by == worker).values(claimed_by=""))
            return tx.sql.execute(update(study).where(claimed).values(claimed_by="")).rowcount

    def forgive_claims(self, life: str) -> int:
        """Drop the claims of an earlier run of the daemon that ended as a whole; called when the daemon starts.

        No study is to blame for that, so those attempts do not count. The names of this run's workers end in `life`,
        which differs for each start of the daemon; claims with any other ending are dropped.
        """
        with self._transaction("forgive_claims") as tx:
            earlier = (
                (study.c.state == str(State.RECEIVED))
                & (study.c.claimed_by != "")
                & ~study.c.claimed_by.endswith(life, autoescape=True)
            )
            opened = {"claimed_by": "", "attempts": study.c.attempts - 1}
            theirs = (analysis.c.claimed_by != "") & ~analysis.c.claimed_by.endswith(life, autoescape=True)
            forgiven = {"claimed_by": "", "attempts": analysis.c.attempts - 1}
            tx.sql.execute(update(analysis).where(theirs).values(forgiven))
            return tx.sql.execute(update(study).where(earlier).values(opened)).rowcount

    def unclaim(self, study_id: int, not_before: datetime, reason: str) -> None:
        """Give a study back until `not_before`, for a fault that is not the study's; this attempt does not count."""
        with self._transaction("unclaim") as tx:
            row = tx.study(study_id)
            if not row.claimed_by:
                return
            values = {"claimed_by": "", "attempts": max(row.attempts - 1, 0), "not_before": not_before}
            tx.change(study_id, reason=reason, **values)

    def quarantine(
        self, study_id: int, reason: str, now: datetime, kind: str = "", objects: Sequence[ResultObject] = ()
    ) -> None:
        """Quarantine a study. `reason` must hold no patient data; `kind` is that of the security event it is, or "".

        `objects` tell the destinations that there is no result.
        """
        with self._transaction("quarantine") as tx:
            row = tx.study(study_id)
            if row.state != State.QUARANTINED:
                detail = {"kind": kind} if kind else None
                tx.move(row, State.QUARANTINED, "QUARANTINED", now, reason=reason, detail=detail, claimed_by="")
                write_objects(tx, row, objects, now)

    def explain(self, study_id: int, objects: Sequence[ResultObject], now: datetime) -> None:
        """Have the destinations be told that a study, which is in quarantine, has no result."""
        with self._transaction("explain") as tx:
            row = tx.study(study_id)
            if row.state == State.QUARANTINED:
                write_objects(tx, row, objects, now)

    def release(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Release a study from quarantine: analyse it again or, if it was analysed, send its refused deliveries again.

        Raises `UnknownStudy`, and `WrongState` for a study that is not in quarantine.
        """
        with self._transaction("release") as tx:
            row = _quarantined(tx, study_instance_uid)
            analysed = not row.attempts  # an analysis that succeeds sets them to 0
            if analysed and deliver_again(tx, row.id, now):
                tx.move(row, State.ANALYSED, "RELEASED", now, actor=actor, delivered_at=None)
            else:
                analyse_again(tx, row, "RELEASED", now, actor)

    def keep_images(
        self,
        study_instance_uid: str,
        kept: Sequence[str],
        identity: Mapping[str, str],
        now: datetime,
        actor: str = "administrator",
    ) -> None:
        """Take a study out of quarantine with these images alone; the others are excluded from analysis and reports.

        `kept`: SOP Instance UIDs. `identity`: patient_id, accession_number and study_date of the kept images, which
        become the study's. Raises `UnknownStudy`, and `WrongState` if the study is not in quarantine or an image is not
        in it.
        """
        with self._transaction("keep_images") as tx:
            row = _quarantined(tx, study_instance_uid)
            of_study = instance.c.study_id == row.id
            known = set(tx.sql.execute(select(instance.c.sop_instance_uid).where(of_study)).scalars())
            if not kept or set(kept) - known:
                raise WrongState("expected images of this study; hilum quarantine images lists them")
            said = {"excluded": 1, "verdict": "excluded", "reason": "a person said that it is of another patient"}
            out = known - set(kept)
            tx.sql.execute(update(instance).where(of_study, instance.c.sop_instance_uid.in_(out)).values(**said))
            tx.sql.execute(update(instance).where(of_study, instance.c.sop_instance_uid.in_(kept)).values(excluded=0))
            tx.change(row.id, **identity)
            analyse_again(tx, row, "RELEASED", now, actor, detail={"excluded": sorted(out)})

    def discard(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Give a quarantined study up: it becomes IGNORED, and deliveries that were not accepted are cancelled.

        Raises `UnknownStudy`, and `WrongState` for a study that is not in quarantine.
        """
        with self._transaction("discard") as tx:
            row = _quarantined(tx, study_instance_uid)
            undelivered = delivery.c.state.in_(("PENDING", "REFUSED"))
            cancel = update(delivery).where(delivery.c.study_id == row.id, undelivered)
            tx.sql.execute(cancel.values(state="CANCELLED", finished_at=now, commitment=""))
            tx.move(row, State.IGNORED, "DISCARDED", now, actor=actor, reason=f"discarded: {row.reason}")

    def replay(self, study_instance_uid: str, now: datetime, actor: str = "administrator") -> None:
        """Analyse a study again from the spool. Raises `UnknownStudy`, and `WrongState` if its files were removed."""
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
    """Return the rows of the studies to claim now; quarantine those that were attempted too often."""
    chosen: list[Any] = []
    for row in tx.sql.execute(_OPEN.where(ready).limit(limit)).all():
        if row.attempts == 0:
            chosen.append(row)
        elif not chosen:
            if row.attempts >= max_attempts:
                reason = f"analysis died {'twice' if row.attempts == 2 else f'{row.attempts} times'}: see the log"
                tx.move(row, State.QUARANTINED, "QUARANTINED", now, reason=reason)
            return [row]
    return chosen


def load_studies(connection: Connection, rows: Sequence[Any], max_attempts: int = 2) -> list[Study]:
    """Return the studies with their images and the result objects made so far."""
    ids = [row.id for row in rows]
    instances: dict[int, list[Instance]] = defaultdict(list)
    images = select(instance).where(instance.c.study_id.in_(ids), instance.c.excluded == 0).order_by(instance.c.id)
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
                i.calling_ae_title,
            )
        )
    earlier = load_earlier(connection, ids)
    corrected = corrected_since(connection, earlier)
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
            row.id in corrected,
            row.attempts >= max_attempts,
        )
        for row in rows
    ]
