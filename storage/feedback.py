"""The table of what readers say of results, and the queries on it.

A row is one verdict. It holds what the verdict is about as it was at that moment, so that a later analysis does not
change what was judged. No row is ever changed: a correction is a new row.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Double, Engine, ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, mapped_column

from storage.database import reading
from storage.queries.rows import matching, window
from storage.schema import Base, instance, study

NONE = "none"
"""The finding of a verdict that nothing is there."""


class FeedbackRow(Base):
    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_study_id", "study_id"), Index("ix_feedback_at", "at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    at: Mapped[datetime]
    sop_instance_uid: Mapped[str]
    """The image that was judged."""
    finding: Mapped[str]
    verdict: Mapped[str]
    """agree or disagree, with the call."""
    present: Mapped[int]
    """What follows: 1 where the reader says that the finding is there; of "none", that anything is."""
    call: Mapped[str]
    score: Mapped[int | None]
    probability: Mapped[float | None] = mapped_column(Double)
    model_digest: Mapped[str]
    view: Mapped[str]
    """PA, AP, or empty where it is not known."""
    reader: Mapped[str]
    note: Mapped[str]
    result: Mapped[Any]
    """The result of the image, as it was when it was judged."""


feedback = Base.metadata.tables["feedback"]

_ROWS = (
    select(
        *(feedback.c[name] for name in ("id", "at")),
        *(study.c[name] for name in ("study_instance_uid", "accession_number", "patient_id")),
        *(c for c in feedback.c if c.name not in ("id", "at", "study_id", "result")),
    )
    .join(study, study.c.id == feedback.c.study_id)
)  # fmt: skip
_NEWEST = select(func.max(feedback.c.id)).group_by(
    feedback.c.sop_instance_uid, feedback.c.finding, feedback.c.reader, feedback.c.model_digest
)


class FeedbackQueries:
    """What readers said; no method changes anything. Rows are dictionaries that can be written as JSON."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def listed(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        study_instance_uid: str | None = None,
        finding: str | None = None,
        reader: str | None = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Return the verdicts given from `since` (included) to `until` (not included), newest first.

        Their "counts" is False where the same reader has judged the same later.
        """
        query = window(_ROWS.add_columns(feedback.c.id.in_(_NEWEST).label("counts")), feedback.c.at, since, until)
        query = matching(query, (
            (study.c.study_instance_uid, study_instance_uid),
            (func.lower(feedback.c.finding), finding and finding.lower()),
            (feedback.c.reader, reader),
        ))  # fmt: skip
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(feedback.c.id.desc()).limit(limit)).mappings().all()
        return [{**row, "at": row["at"].isoformat(), "counts": bool(row["counts"])} for row in rows]

    def standing(self, since: datetime | None = None, until: datetime | None = None) -> list[dict[str, Any]]:
        """Return the verdicts that count, oldest first, each with the image's "result" and "calling_ae_title".

        Of several verdicts of one reader on the same image, finding and model the newest counts: of those given from
        `since` (included) to `until` (not included).
        """
        query = _ROWS.add_columns(feedback.c.result, instance.c.calling_ae_title)
        query = query.join(instance, instance.c.sop_instance_uid == feedback.c.sop_instance_uid, isouter=True)
        query = query.where(feedback.c.id.in_(window(_NEWEST, feedback.c.at, since, until))).order_by(feedback.c.id)
        with reading(self._engine) as connection:
            return [{**row, "at": row["at"].isoformat()} for row in connection.execute(query).mappings()]
