"""What every type of destination provides: a channel that sends, tests the connection, and can be closed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from config.sections import DestinationSettings
from config.settings import Settings
from storage.records import Delivery, Sent


class Channel(ABC):
    """The connection to one destination, for one thread at a time. It is opened when it is first needed.

    A failure of the destination is returned as a `Sent` with the outcome UNREACHABLE or REFUSED; it never raises.
    """

    test_name: str
    """A name for what `test` does, such as "C-ECHO"; `hilum check` prints it."""

    @abstractmethod
    def send(self, delivery: Delivery) -> Sent:
        """Send one result object and return how that ended. Each attempt sends the same bytes."""

    @abstractmethod
    def test(self) -> str:
        """Test the connection without sending a result; return a sentence that names the fault, or "" for none."""

    @abstractmethod
    def close(self) -> None:
        """End the connection, if there is one."""

    def rest(self) -> None:  # noqa: B027 (most types have nothing to do here)
        """Called while nothing is due: read what arrived on an open connection, and close one that has been idle."""

    @property
    def awaits_reports(self) -> bool:
        """Whether the destination may still send a report on an open connection; `rest` is then called every second."""
        return False


@dataclass(frozen=True)
class Hooks:
    """Functions by which a channel tells the daemon what happens. The defaults ignore it."""

    on_event: Callable[[str, dict[str, str]], None] = lambda kind, detail: None
    """Called with the kind of a security event and its details, which hold no patient data."""
    on_commit_report: Callable[[Any], None] = lambda report: None
    """Called with the destination's report on storage commitment (a `CommitReport`)."""


@dataclass(frozen=True)
class DestinationType:
    """A type of destination: its keys in the configuration, and the function that opens a channel."""

    settings: type[DestinationSettings]
    open: Callable[[Settings, Any, Hooks], Channel]
    """Takes the settings, the destination (an instance of the class above) and the hooks. Opens no connection. Raises
    CannotWork if files that the destination names cannot be used."""
