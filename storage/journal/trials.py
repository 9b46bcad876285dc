"""Models on trial: the analyses that wait for them, and which model is on trial now.

A model on trial sees a study after the models in use have answered, and in a transaction of its own, so that whatever
becomes of it changes nothing for the study.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from storage.analyses import UNDONE, ModelOutcome, analysis, promotion
from storage.database import reading
from storage.errors import WrongState
from storage.journal.outcomes import write_results
from storage.journal.studies import load_studies
from storage.journal.transactions import Book, Transaction
from storage.records import Trial
from storage.schema import study

_WAITING = select(analysis).where(text(UNDONE)).order_by(analysis.c.id)
_CHANGE = update(analysis).where(analysis.c.id == bindparam("key"), text(UNDONE))


class Trials(Book):
    """The journal's methods for models on trial."""

    def waiting_trials(self, limit: int, worker: str, max_attempts: int = 2) -> list[Trial]:
        """Claim analyses that wait for a model on trial, all of one model, the oldest first.

        Attempts are counted as `settled` counts them: one at a later attempt comes alone, and one that was attempted
        `max_attempts` times has FAILED.
        """
        free = _WAITING.where(analysis.c.claimed_by == "")
        with reading(self._engine) as connection:
            if connection.execute(free.limit(1)).first() is None:
                return []
        with self._transaction("waiting_trials") as tx:
            chosen = _choose(tx, tx.sql.execute(free.limit(limit)).all(), max_attempts)
            claim = update(analysis).where(analysis.c.id.in_([row.id for row in chosen]))
            tx.sql.execute(claim.values(claimed_by=worker, attempts=analysis.c.attempts + 1))
            return _load(tx.sql, chosen)

    def tried(self, trials: Sequence[tuple[Trial, ModelOutcome]], now: datetime) -> None:
        """Record what a model on trial said of studies. One that was replaced meanwhile stays replaced."""
        with self._transaction("tried") as tx:
            for trial, said in trials:
                used = said.model
                done = {"state": "DONE", "claimed_by": "", "started_at": said.started_at, "ended_at": now,
                        "bundle_name": used.bundle_name, "bundle_version": used.bundle_version,
                        "bundle_digest": used.bundle_digest, "site_digest": used.site_digest}  # fmt: skip
                if tx.sql.execute(_CHANGE, {"key": trial.id, **done}).rowcount:
                    write_results(tx, trial.id, said)

    def trial_failed(self, trial: Trial, reason: str, now: datetime) -> None:
        """Give an analysis by a model on trial up. `reason` must hold no patient data."""
        with self._transaction("trial_failed") as tx:
            values = {"state": "FAILED", "reason": reason, "claimed_by": "", "ended_at": now}
            tx.sql.execute(_CHANGE, {"key": trial.id, **values})

    def give_trial_back(self, trial: Trial) -> None:
        """Let an analysis wait again, for a fault that is not the model's; this attempt does not count."""
        with self._transaction("give_trial_back") as tx:
            tx.sql.execute(_CHANGE, {"key": trial.id, "claimed_by": "", "attempts": trial.attempts - 1})

    def promotions(self) -> list[tuple[str, str]]:
        """Return which model came into use in place of which other one, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(promotion).order_by(promotion.c.id))
            return [(row.model, row.instead_of) for row in rows]

    def promote(self, model: str, instead_of: str, now: datetime, actor: str = "administrator") -> None:
        """Take a model into use in place of another, which is on trial from now on."""
        with self._transaction("promote") as tx:
            _promote(tx, "MODEL_PROMOTED", model, instead_of, now, actor)

    def roll_back(self, now: datetime, actor: str = "administrator") -> tuple[str, str]:
        """Undo the last promotion; return the model in use and the one on trial. Raises `WrongState` if there is none.

        A second call undoes this one.
        """
        with self._transaction("roll_back") as tx:
            last = tx.sql.execute(select(promotion).order_by(promotion.c.id.desc()).limit(1)).one_or_none()
            if last is None:
                raise WrongState("no model was promoted: there is nothing to roll back")
            _promote(tx, "MODEL_ROLLED_BACK", last.instead_of, last.model, now, actor)
            return last.instead_of, last.model


def _promote(tx: Transaction, event: str, model: str, instead_of: str, now: datetime, actor: str) -> None:
    tx.sql.execute(insert(promotion).values(at=now, model=model, instead_of=instead_of, actor=actor))
    tx.trail.add(event, now, actor=actor, detail={"model": model, "instead_of": instead_of})


def _choose(tx: Transaction, rows: Sequence[Any], max_attempts: int) -> list[Any]:
    """Return the rows to claim now, of one model; those that were attempted too often have failed."""
    chosen: list[Any] = []
    for row in rows:
        if row.attempts >= max_attempts:
            reason = "the analysis died twice: see the log"
            tx.sql.execute(_CHANGE, {"key": row.id, "state": "FAILED", "reason": reason})
        elif row.attempts and not chosen:
            return [row]
        elif not row.attempts and (not chosen or row.model == chosen[0].model):
            chosen.append(row)
    return chosen


def _load(connection: Connection, rows: Sequence[Any]) -> list[Trial]:
    ids = [row.study_id for row in rows]
    studies = connection.execute(select(study).where(study.c.id.in_(ids))).all()
    loaded = {one.id: one for one in load_studies(connection, studies)}
    return [Trial(row.id, row.model, loaded[row.study_id], row.attempts + 1) for row in rows]
