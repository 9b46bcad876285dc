"""The tables. Every change here is a new file in migrations/versions; a test keeps the two alike."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage.columns import Json, Moment, Words


class Base(DeclarativeBase):
    type_annotation_map = {str: Words, datetime: Moment, Any: Json}  # noqa: RUF012  (SQLAlchemy reads it once)


# The conditions of the partial indexes; a query uses the index only if it states the same words.
PENDING = "delivery.state = 'PENDING'"
UNCOMMITTED = "delivery.commitment IN ('WANTED', 'REQUESTED')"
SPOOLED = "instance.spool_name <> ''"


def partial(name: str, *columns: str, where: str) -> Index:
    condition = text(where.rpartition(".")[2])  # an index knows its table
    return Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


class StudyRow(Base):
    __tablename__ = "study"
    __table_args__ = (
        CheckConstraint(
            "state IN ('RECEIVED', 'ANALYSED', 'DELIVERED', 'COMMITTED', 'IGNORED', 'QUARANTINED')",
            name="ck_study_state",
        ),
        Index("ix_study_open", "state", "claimed_by", "priority", "received_at", "id"),
        Index("ix_study_received_at", "received_at"),
        Index("ix_study_patient_id", "patient_id"),
        Index("ix_study_accession_number", "accession_number"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    patient_id: Mapped[str]
    accession_number: Mapped[str]
    study_date: Mapped[str]
    modality: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str]
    revision: Mapped[int]
    attempts: Mapped[int]
    priority: Mapped[int]
    received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    not_before: Mapped[datetime | None]
    claimed_by: Mapped[str]
    """The worker that took it up; empty while it is open."""
    analysed_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]
    model_digest: Mapped[str]


class FindingRow(Base):
    """The summary of a study's latest analysis."""

    __tablename__ = "finding"
    __table_args__ = (Index("ix_finding_finding", "finding", "call"),)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    finding: Mapped[str]
    call: Mapped[str]
    content: Mapped[Any]


class InstanceRow(Base):
    __tablename__ = "instance"
    __table_args__ = (
        Index("ix_instance_study_id", "study_id"),
        Index("ix_instance_spool_name", "spool_name"),
        partial("ix_instance_spooled", "received_at", where=SPOOLED),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    series_instance_uid: Mapped[str]
    sop_class_uid: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    transfer_syntax_uid: Mapped[str]
    spool_name: Mapped[str]
    """Empty once the file was removed because its time was over."""
    size: Mapped[int]
    sha256: Mapped[str]
    calling_ae_title: Mapped[str]
    peer_address: Mapped[str]
    received_at: Mapped[datetime]
    held_until: Mapped[datetime | None]
    """Until when we promised a modality to keep it (storage commitment)."""
    verdict: Mapped[str]
    reason: Mapped[str]
    result: Mapped[Any] = mapped_column(nullable=True)


class ConflictRow(Base):
    """Other bytes that came under a SOP Instance UID that we hold: kept aside for a person."""

    __tablename__ = "conflict"
    __table_args__ = (UniqueConstraint("sop_instance_uid", "sha256"), Index("ix_conflict_spool_name", "spool_name"))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str]
    sop_instance_uid: Mapped[str]
    spool_name: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    calling_ae_title: Mapped[str]
    peer_address: Mapped[str]
    received_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="OPEN")
    """OPEN: waits for a person. REPLACED: it counted until a person took the other bytes."""


class ObjectRow(Base):
    """An encoded result: these bytes are sent, and sent again."""

    __tablename__ = "result_object"
    __table_args__ = (Index("ix_result_object_study_id", "study_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    kind: Mapped[str]
    sop_class_uid: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    transfer_syntax_uid: Mapped[str]
    sha256: Mapped[str]
    created_at: Mapped[datetime]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class DeliveryRow(Base):
    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("object_id", "destination"),
        CheckConstraint(
            "state IN ('PENDING', 'ACCEPTED', 'WARNING', 'REFUSED', 'CANCELLED')", name="ck_delivery_state"
        ),
        partial("ix_delivery_due", "destination", "priority", "id", "next_attempt_at", where=PENDING),
        partial("ix_delivery_uncommitted", "destination", "id", where=UNCOMMITTED),
        Index("ix_delivery_study_id", "study_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[int] = mapped_column(ForeignKey("result_object.id"))
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    destination: Mapped[str]
    priority: Mapped[int]
    state: Mapped[str]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    status: Mapped[int | None]
    comment: Mapped[str]
    commitment: Mapped[str]
    """"" (not asked for), WANTED, REQUESTED, COMMITTED or FAILED."""
    commit_requests: Mapped[int]
    commit_requested_at: Mapped[datetime | None]
    transaction_uid: Mapped[str]
    """Of the latest request; `commitment` has the earlier ones too."""


class CommitmentRow(Base):
    """An object in a storage commitment request that we made. The report to an old request still counts."""

    __tablename__ = "commitment"
    transaction_uid: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), primary_key=True)
    sop_instance_uid: Mapped[str]


class CommitRequestRow(Base):
    """A storage commitment request that was made to us, until it is answered and after."""

    __tablename__ = "commit_request"
    __table_args__ = (UniqueConstraint("transaction_uid", "calling_ae_title"), Index("ix_commit_request_due", "due_at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str]
    calling_ae_title: Mapped[str]
    peer_address: Mapped[str]
    objects: Mapped[Any]
    """Pairs of SOP Class UID and SOP Instance UID."""
    received_at: Mapped[datetime]
    attempts: Mapped[int]
    due_at: Mapped[datetime | None]
    """When to answer, or to try again; empty once it is answered or given up."""


class AuditRow(Base):
    """The audit trail: append-only, each digest covers the row and the digest before it."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_study_instance_uid", "study_instance_uid"), Index("ix_audit_at", "at"))
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    event: Mapped[str]
    study_instance_uid: Mapped[str]
    sop_instance_uid: Mapped[str]
    actor: Mapped[str]
    from_state: Mapped[str]
    to_state: Mapped[str]
    detail: Mapped[Any]
    previous: Mapped[str]
    digest: Mapped[str]


class AuditHeadRow(Base):
    """The newest audit row, once more: shows when the last rows were removed. Its lock is the one writer's turn."""

    __tablename__ = "audit_head"
    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]


class OutboxRow(Base):
    """How far each reader of the audit trail (a syslog server) has come."""

    __tablename__ = "outbox"
    reader: Mapped[str] = mapped_column(primary_key=True)
    audit_id: Mapped[int] = mapped_column(BigInteger)


_tables = Base.metadata.tables
study = _tables["study"]
finding = _tables["finding"]
instance = _tables["instance"]
conflict = _tables["conflict"]
result_object = _tables["result_object"]
delivery = _tables["delivery"]
commitment = _tables["commitment"]
commit_request = _tables["commit_request"]
audit = _tables["audit"]
audit_head = _tables["audit_head"]
outbox = _tables["outbox"]
