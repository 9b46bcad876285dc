"""What every type of notifier provides: it sends a message, and its connection can be tested."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.decisions import CannotWork
from storage.records import Sending, Sent

LONGEST_COMMENT = 300  # characters of a fault that are kept


@dataclass(frozen=True)
class Announcement:
    """A notification in the forms in which notifiers send it. Sent again, it is the same."""

    id: str
    at: datetime
    """When the alert was raised."""
    subject: str
    """One line without patient data."""
    text: str
    """Lines for people."""
    event: dict[str, Any]
    """A JSON object for programs: CloudEvents 1.0."""


class Notifier(ABC):
    """Who is told. A failure is returned, never raised; ACCEPTED, WARNING and REFUSED are final."""

    test_name = "connection"
    """A name for what `test` does; `hilum check` prints it."""

    @abstractmethod
    def send(self, message: Announcement, now: datetime) -> Sent:
        """Make one attempt, which takes no longer than `timeout_seconds` of the notifier."""

    @abstractmethod
    def test(self) -> str:
        """Test the connection without sending a message; return a sentence that names the fault, or "" for none."""


def refused_for_now(fault: str) -> Sent:
    """Return the result of an attempt that the receiver answered with a failure: this notification is tried again."""
    return Sent(Sending.FAILED, None, fault[:LONGEST_COMMENT])


def unreachable(fault: str) -> Sent:
    """Return the result of an attempt that nobody answered: no other notification would fare better now."""
    return Sent(Sending.UNREACHABLE, None, fault[:LONGEST_COMMENT])


def secret_text(path: str, key: str) -> str:
    """Read a file that holds a secret. It is read for each attempt, so that a new secret counts at once.

    Raises CannotWork, which names the key of the configuration, if it cannot be read or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotWork(f"{key} {path}: {getattr(error, 'strerror', None) or 'is no text'}") from error
    if not text:
        raise CannotWork(f"{key} {path}: found an empty file, expected a secret")
    return text
