"""The end of an analysis: verdicts, findings, encoded results and deliveries are written in one transaction."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, insert, literal, select, update

from storage.analyses import ModelOutcome, ResultObject, UsedModel, analysis, analysis_object, finding, image_result
from storage.journal.notifications import raise_alerts
from storage.journal.transactions import Book, Transaction, conclude_deliveries
from storage.records import AnalysisOutcome, State, Study
from storage.schema import delivery, instance, result_object

_VERDICT = (
    update(instance)
    .where(instance.c.id == bindparam("key"))
    .values(verdict=bindparam("new_verdict"), reason=bindparam("new_reason"))
)
_PAST = (
    update(analysis)
    .where(analysis.c.study_id == bindparam("key"), analysis.c.current == 1)
    .values(current=0, state=case((analysis.c.state == "WAITING", literal("REPLACED")), else_=analysis.c.state))
)
_NEW_ANALYSIS = insert(analysis)
_NEW_RESULTS = insert(image_result)
_NEW_FINDINGS = insert(finding)
_LED_TO = insert(analysis_object)
_NEW_OBJECT = insert(result_object)
_NEW_DELIVERIES = insert(delivery)
_OBJECT_IDS = select(result_object.c.sop_instance_uid, result_object.c.id).where(
    result_object.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_DESTINATIONS = select(delivery.c.destination).where(delivery.c.object_id == bindparam("key"))


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
    new = _write_analyses(tx, row, taken.revision, outcome, now)
    detail = {
        "verdicts": dict(Counter(i.verdict for i in outcome.instances)),
        "objects": new,
        "models": [_named(one.model) for one in outcome.models],
        "revision": taken.revision,
    }
    values: dict[str, Any] = {"claimed_by": "", "attempts": 0, "analysed_at": now}
    if row.state != State.RECEIVED or row.revision != taken.revision:
        # Newer images wait for analysis, or somebody changed the state meanwhile: this analysis must not change it.
        tx.change(row.id, **values)
        tx.trail.add("ANALYSED_BEFORE", now, actor="hilum", study_instance_uid=row.study_instance_uid, detail=detail)
        return
    tx.move(row, outcome.state, outcome.state, now, reason=outcome.reason, detail=detail, **values)
    if not new:  # no delivery is pending for it: the earlier deliveries decide the state
        conclude_deliveries(tx, tx.study(row.id), now)


def _named(model: UsedModel) -> dict[str, str]:
    """Return a model as the audit trail names it."""
    named = {"name": model.name, "version": model.bundle_version, "digest": model.bundle_digest}
    return named | ({"site_digest": model.site_digest} if model.site_digest else {})


def _write_verdicts(tx: Transaction, outcome: AnalysisOutcome) -> None:
    if outcome.instances:
        rows = [{"key": i.instance_id, "new_verdict": i.verdict, "new_reason": i.reason} for i in outcome.instances]
        tx.sql.execute(_VERDICT, rows)


def _write_analyses(tx: Transaction, row: Any, revision: int, outcome: AnalysisOutcome, now: datetime) -> list[str]:
    """Write what each model said, in place of what was said before; return the UIDs of objects with a new delivery."""
    tx.sql.execute(_PAST, {"key": row.id})
    new = []
    for one in outcome.models:
        values = {"state": "DONE", "started_at": one.started_at, "ended_at": now}
        key = begin_analysis(tx, row.id, revision, one.model, now, **values)
        write_results(tx, key, one)
        new += write_objects(tx, row, one.objects, now, key)
    for model in outcome.trials:
        begin_analysis(tx, row.id, revision, model, now, state="WAITING", shadow=1)
    return new


def begin_analysis(
    tx: Transaction, study_id: int, revision: int, model: UsedModel, now: datetime, **values: Any
) -> int:  # fmt: skip
    """Add the row of an analysis, and return its key."""
    row = {"study_id": study_id, "revision": revision, "model": model.name, "shadow": 0, "reason": "", "current": 1,
           "bundle_name": model.bundle_name, "bundle_version": model.bundle_version,
           "bundle_digest": model.bundle_digest, "site_digest": model.site_digest, "attempts": 0, "claimed_by": "",
           "created_at": now, "started_at": None, "ended_at": None}  # fmt: skip
    key = tx.sql.execute(_NEW_ANALYSIS, row | values).inserted_primary_key
    assert key is not None  # one row was inserted
    return int(key[0])


def write_results(tx: Transaction, key: int, outcome: ModelOutcome) -> None:
    """Write what a model said of each image, and of the study."""
    results = [{"analysis_id": key, "instance_id": i.instance_id, "verdict": i.verdict, "reason": i.reason,
                "result": i.result} for i in outcome.images]  # fmt: skip
    findings = [{"analysis_id": key, "position": position, "finding": found.get("finding", ""),
                 "call": found.get("call", ""), "content": found}
                for position, found in enumerate(outcome.findings)]  # fmt: skip
    for statement, rows in ((_NEW_RESULTS, results), (_NEW_FINDINGS, findings)):
        if rows:
            tx.sql.execute(statement, rows)


def write_objects(
    tx: Transaction, row: Any, objects: Sequence[ResultObject], now: datetime, analysis_id: int | None = None
) -> list[str]:
    """Insert the missing objects and deliveries; return the SOP Instance UIDs of objects with a new delivery.

    `analysis_id`: the analysis that led to them; None for objects that say that there is none.
    """
    uids = [obj.sop_instance_uid for obj in objects]
    found = tx.sql.execute(_OBJECT_IDS, {"uids": uids}).all() if uids else []
    there: dict[str, int] = {row.sop_instance_uid: row.id for row in found}
    new = []
    for obj in objects:
        key = there.get(obj.sop_instance_uid) or _insert_object(tx, row, obj, now)
        if analysis_id is not None:
            tx.sql.execute(_LED_TO, {"analysis_id": analysis_id, "object_id": key})
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
