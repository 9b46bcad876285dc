"""The tables; those of analyses, notifications and feedback are in the modules of these names.

Every change needs a new file in migrations/versions; a test checks that the two agree.
"""

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


# The conditions of the partial indexes. The database uses such an index only for a query with the same condition.
PENDING = "delivery.state = 'PENDING'"
UNCOMMITTED = "delivery.commitment IN ('WANTED', 'REQUESTED')"
SPOOLED = "instance.spool_name <> ''"


def partial(name: str, *columns: str, where: str) -> Index:
    condition = text(where.rpartition(".")[2])  # without the table's name, which an index must not state
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
    """Name of the worker that analyses it; empty while it is not claimed."""
    analysed_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]


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
    """Empty once the file was removed, because it was kept long enough (`storage.keep_days`)."""
    size: Mapped[int]
    sha256: Mapped[str]
    calling_ae_title: Mapped[str]
    peer_address: Mapped[str]
    received_at: Mapped[datetime]
    held_until: Mapped[datetime | None]
    """The time until which a modality was promised that the object is kept (storage commitment)."""
    excluded: Mapped[int] = mapped_column(server_default="0")
    """1 where a person said that it belongs to another patient: it is neither analysed nor reported."""
    verdict: Mapped[str]
    """What the models together make of it: "analysed" if one analysed it. Empty before the first analysis."""
    reason: Mapped[str]


class ConflictRow(Base):
    """An object with the SOP Instance UID of an earlier one but with other bytes, set aside for a person to look at."""

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
    """OPEN: it waits for a person to decide. REPLACED: it was in use until a person took the other object.
    SUPERSEDED: it was in use until a correction took its place."""


class ObjectRow(Base):
    """An encoded result. Every attempt to deliver it sends the bytes in `data`."""

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
    failures: Mapped[int] = mapped_column(server_default="0")
    """How often the destination answered this object with a failure that another attempt may change."""
    first_failed_at: Mapped[datetime | None]
    commitment: Mapped[str]
    """"" (not asked for), WANTED, REQUESTED, COMMITTED or FAILED."""
    commit_requests: Mapped[int]
    commit_requested_at: Mapped[datetime | None]
    transaction_uid: Mapped[str]
    """Of the latest request; the table `commitment` holds the earlier ones too."""


class CommitmentRow(Base):
    """An object in a storage commitment request that hilum made. A report that answers an old request still counts."""

    __tablename__ = "commitment"
    transaction_uid: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), primary_key=True)
    sop_instance_uid: Mapped[str]


class CommitRequestRow(Base):
    """A storage commitment request that a modality made to hilum. It stays here after the answer, until it expires."""

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
    """When the answer, or the next attempt to answer, is due; empty once it was answered or given up."""


class AuditRow(Base):
    """The audit trail: append-only; each digest covers the row and the digest of the row before it."""

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
    """Number and digest of the newest audit row, so that a removal of the last rows shows."""

    __tablename__ = "audit_head"
    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]


class OutboxRow(Base):
    """The last row of the audit trail that each reader, such as a syslog server, has confirmed."""

    __tablename__ = "outbox"
    reader: Mapped[str] = mapped_column(primary_key=True)
    audit_id: Mapped[int] = mapped_column(BigInteger)


_tables = Base.metadata.tables
study = _tables["study"]
instance = _tables["instance"]
conflict = _tables["conflict"]
result_object = _tables["result_object"]
delivery = _tables["delivery"]
commitment = _tables["commitment"]
commit_request = _tables["commit_request"]
audit = _tables["audit"]
audit_head = _tables["audit_head"]
outbox = _tables["outbox"]
