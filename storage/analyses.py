"""Analyses: what one model said of a study. The values that this package takes and returns for them, and the tables.

A study has an analysis for each model and each time that the model saw it. That of the newest time is `current`: it is
what queries, feedback and reports speak of, and the others are its history. The analyses of models on trial (`shadow`)
wait here until the analysing process comes to them; nothing of what they say leaves hilum.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.schema import Base, partial

# The condition of the partial index. The database uses the index only for a query with the same condition.
UNDONE = "analysis.state = 'WAITING'"


@dataclass(frozen=True)
class UsedModel:
    """A model as the journal names it."""

    name: str = ""
    """Of its table in the configuration; "" for an analysis of before there were several models."""
    bundle_name: str = ""
    bundle_version: str = ""
    bundle_digest: str = ""
    site_digest: str = ""
    """Of the site's own calibration; "" if there is none."""


@dataclass(frozen=True)
class InstanceOutcome:
    """What the analysis concluded about one image."""

    instance_id: int
    verdict: str
    """"analysed", "ignored" or "refused"."""
    reason: str = ""
    result: dict[str, Any] | None = None
    """The JSON object that `hilum predict --json` prints for an image."""


@dataclass(frozen=True)
class ResultObject:
    """An encoded result and the names of the destinations that get it."""

    kind: str
    """The name of its kind, for example "sr" or "sc"."""
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    """The encoded data set without file meta information. Every attempt to deliver sends exactly these bytes."""
    destinations: tuple[str, ...]
    committing: tuple[str, ...] = ()
    """The destinations among them that will be asked for storage commitment."""


@dataclass(frozen=True)
class ModelOutcome:
    """What one model said of a study."""

    model: UsedModel = UsedModel()
    images: tuple[InstanceOutcome, ...] = ()
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Summary over the images: JSON objects with finding, probability, threshold and call."""
    objects: tuple[ResultObject, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True)
class EarlierObject:
    """A result object that was made earlier, and the names of the destinations that it was made for."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    destinations: frozenset[str]
    made_at: datetime
    """The same for all objects of one analysis."""
    model: str = ""
    """Version of the model that it is a result of; "" if the journal does not know it."""
    model_name: str = ""
    """Of the model's table in the configuration; "" if the journal does not know it."""


class AnalysisRow(Base):
    """One model's analysis of a study."""

    __tablename__ = "analysis"
    __table_args__ = (
        CheckConstraint("state IN ('WAITING', 'DONE', 'FAILED', 'REPLACED')", name="ck_analysis_state"),
        Index("ix_analysis_study_id", "study_id", "current"),
        Index("ix_analysis_ended_at", "model", "ended_at"),
        partial("ix_analysis_waiting", "id", where=UNDONE),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    """That of the study, when the analysis began."""
    model: Mapped[str]
    shadow: Mapped[int]
    """1 for a model on trial."""
    bundle_name: Mapped[str]
    bundle_version: Mapped[str]
    bundle_digest: Mapped[str]
    site_digest: Mapped[str]
    state: Mapped[str]
    """WAITING for the model on trial, DONE, FAILED for good, or REPLACED before it was begun."""
    reason: Mapped[str]
    current: Mapped[int]
    """1 for the newest analysis of the study by this model, unless the study was analysed again without the model."""
    attempts: Mapped[int]
    claimed_by: Mapped[str]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ImageResultRow(Base):
    """What one analysis says of one image."""

    __tablename__ = "image_result"
    __table_args__ = (Index("ix_image_result_instance_id", "instance_id"),)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), primary_key=True)
    verdict: Mapped[str]
    reason: Mapped[str]
    result: Mapped[Any] = mapped_column(nullable=True)


class FindingRow(Base):
    """One finding in the summary of an analysis."""

    __tablename__ = "finding"
    __table_args__ = (Index("ix_finding_finding", "finding", "call"),)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    finding: Mapped[str]
    call: Mapped[str]
    content: Mapped[Any]


class AnalysisObjectRow(Base):
    """That an analysis led to a result object. One that says the same of the same images leads to the same object."""

    __tablename__ = "analysis_object"
    __table_args__ = (Index("ix_analysis_object_object_id", "object_id"),)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), primary_key=True)
    object_id: Mapped[int] = mapped_column(ForeignKey("result_object.id"), primary_key=True)


class PromotionRow(Base):
    """That a model came into use in place of another, which went on trial. The last row of each model counts."""

    __tablename__ = "promotion"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    model: Mapped[str]
    instead_of: Mapped[str]
    actor: Mapped[str]


_tables = Base.metadata.tables
analysis = _tables["analysis"]
image_result = _tables["image_result"]
finding = _tables["finding"]
analysis_object = _tables["analysis_object"]
promotion = _tables["promotion"]
