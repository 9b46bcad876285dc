"""The values for alerts and notifications: frozen, without behaviour."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
