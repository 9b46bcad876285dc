"""Alerts and notifications: the values that this package takes and returns for them, and the table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.schema import Base, partial

# The condition of the partial index. The database uses the index only for a query with the same condition.
UNTOLD = "notification.state = 'PENDING'"


@dataclass(frozen=True)
class Notice:
    """What a notifier is to tell."""

    notifier: str
    content: dict[str, Any]
    """A JSON object without patient data. Its "findings" name what is told, each with "finding" and "call"."""


@dataclass(frozen=True)
class Raised:
    """The alerts that an analysis raised, by name, and who is to be told."""

    alerts: tuple[str, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Notification:
    """A notification that is due, with what the journal holds about its study."""

    id: int
    message_id: str
    study_id: int
    study_instance_uid: str
    patient_id: str
    accession_number: str
    received_at: datetime
    content: dict[str, Any]
    attempts: int
    """Attempts made before this one."""
    created_at: datetime
    """When the alert was raised."""


class NotificationRow(Base):
    """What one notifier is to tell about one analysis of a study. It holds no patient data."""

    __tablename__ = "notification"
    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'ACCEPTED', 'WARNING', 'REFUSED')", name="ck_notification_state"),
        partial("ix_notification_due", "notifier", "next_attempt_at", "id", where=UNTOLD),
        Index("ix_notification_study_id", "study_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(unique=True)
    """The same in each attempt, so that the receiver can tell that it has this one already."""
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    notifier: Mapped[str]
    content: Mapped[Any]
    state: Mapped[str]
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    comment: Mapped[str]


notification = Base.metadata.tables["notification"]
