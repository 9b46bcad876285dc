"""The end of an analysis: verdicts, findings, encoded results and deliveries are written in one transaction."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from storage.journal.notifications import raise_alerts
from storage.journal.transactions import Book, Transaction, conclude_deliveries
from storage.records import AnalysisOutcome, ResultObject, State, Study
from storage.schema import delivery, finding, instance, result_object

_VERDICT = (
    update(instance)
    .where(instance.c.id == bindparam("key"))
    .values(verdict=bindparam("new_verdict"), reason=bindparam("new_reason"), result=bindparam("new_result"))
)
_NEW_OBJECT = insert(result_object)
_NEW_DELIVERIES = insert(delivery)
_NEW_FINDINGS = insert(finding)
_OBJECT_IDS = select(result_object.c.sop_instance_uid, result_object.c.id).where(
    result_object.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_DESTINATIONS = select(delivery.c.destination).where(delivery.c.object_id == bindparam("key"))
_OLD_FINDINGS = delete(finding).where(finding.c.study_id == bindparam("key"))


class Outcomes(Book):
    """The journal's methods for the end of an analysis."""

    def analysed(self, taken: Study, outcome: AnalysisOutcome, now: datetime) -> None:
        """Record the outcome of a study's analysis: verdicts, summary, result objects and their deliveries.

        An object that an earlier analysis of the same images made keeps its bytes and its deliveries. If images arrived
        after the study was claimed, it stays RECEIVED and is analysed again, and these results are delivered anyway.
        Where an alert was raised, the study and its deliveries go before others from now on.
        """
        self.analysed_many([(taken, outcome)], now)

    def analysed_many(self, outcomes: Sequence[tuple[Study, AnalysisOutcome]], now: datetime) -> None:
        """As `analysed`, for several studies in one transaction."""
        if not outcomes:
            return
        with self._transaction("analysed") as tx:
            for taken, outcome in outcomes:
                _write(tx, taken, outcome, now)


def _write(tx: Transaction, taken: Study, outcome: AnalysisOutcome, now: datetime) -> None:
    if outcome.raised:
        raise_alerts(tx, tx.study(taken.id), outcome.raised, now)
    row = tx.study(taken.id)
    _write_verdicts(tx, outcome)
    _write_findings(tx, taken.id, outcome)
    new = write_objects(tx, row, outcome.objects, now)
    detail = {
        "verdicts": dict(Counter(i.verdict for i in outcome.instances)),
        "objects": new,
        "model_digest": outcome.model_digest,
        "model_version": outcome.model_version,
        "revision": taken.revision,
    }
    values: dict[str, Any] = {"claimed_by": "", "attempts": 0, "analysed_at": now}
    values["model_digest"] = outcome.model_digest
    if row.state != State.RECEIVED or row.revision != taken.revision:
        # Newer images wait for analysis, or somebody changed the state meanwhile: this analysis must not change it.
        tx.change(row.id, **values)
        tx.trail.add("ANALYSED_BEFORE", now, actor="hilum", study_instance_uid=row.study_instance_uid, detail=detail)
        return
    tx.move(row, outcome.state, outcome.state, now, reason=outcome.reason, detail=detail, **values)
    if not new:  # no delivery is pending for it: the earlier deliveries decide the state
        conclude_deliveries(tx, tx.study(row.id), now)


def _write_verdicts(tx: Transaction, outcome: AnalysisOutcome) -> None:
    if outcome.instances:
        names = ("key", "new_verdict", "new_reason", "new_result")
        rows = [(i.instance_id, i.verdict, i.reason, i.result) for i in outcome.instances]
        tx.sql.execute(_VERDICT, [dict(zip(names, row, strict=True)) for row in rows])


def _write_findings(tx: Transaction, study_id: int, outcome: AnalysisOutcome) -> None:
    tx.sql.execute(_OLD_FINDINGS, {"key": study_id})
    rows = [
        {
            "study_id": study_id,
            "position": position,
            "finding": found.get("finding", ""),
            "call": found.get("call", ""),
            "content": found,
        }
        for position, found in enumerate(outcome.findings)
    ]
    if rows:
        tx.sql.execute(_NEW_FINDINGS, rows)


def write_objects(tx: Transaction, row: Any, objects: Sequence[ResultObject], now: datetime) -> list[str]:
    """Insert the missing objects and deliveries; return the SOP Instance UIDs of objects with a new delivery."""
    uids = [obj.sop_instance_uid for obj in objects]
    found = tx.sql.execute(_OBJECT_IDS, {"uids": uids}).all() if uids else []
    there: dict[str, int] = {row.sop_instance_uid: row.id for row in found}
    new = []
    for obj in objects:
        key = there.get(obj.sop_instance_uid) or _insert_object(tx, row, obj, now)
        known = set(tx.sql.execute(_DESTINATIONS, {"key": key}).scalars()) if obj.sop_instance_uid in there else set()
        deliveries = [_delivery(row, key, obj, name, now) for name in obj.destinations if name not in known]
        if deliveries:
            tx.sql.execute(_NEW_DELIVERIES, deliveries)
            new.append(obj.sop_instance_uid)
    return new


def _insert_object(tx: Transaction, row: Any, obj: ResultObject, now: datetime) -> int:
    values = {
        "study_id": row.id,
        "revision": row.revision,
        "kind": obj.kind,
        "sop_class_uid": obj.sop_class_uid,
        "sop_instance_uid": obj.sop_instance_uid,
        "transfer_syntax_uid": obj.transfer_syntax_uid,
        "sha256": hashlib.sha256(obj.data).hexdigest(),
        "created_at": now,
        "data": obj.data,
    }
    key = tx.sql.execute(_NEW_OBJECT, values).inserted_primary_key
    assert key is not None  # one row was inserted
    return int(key[0])


def _delivery(row: Any, object_id: int, obj: ResultObject, destination: str, now: datetime) -> dict[str, Any]:
    return {
        "object_id": object_id,
        "study_id": row.id,
        "destination": destination,
        "priority": row.priority,
        "state": "PENDING",
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
        "comment": "",
        "commitment": "WANTED" if destination in obj.committing else "",
        "commit_requests": 0,
        "transaction_uid": "",
    }
