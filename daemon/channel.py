"""What every type of destination has: a channel that sends, tests the connection, and can be closed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from config.sections import DestinationSettings
from config.settings import Settings
from storage.records import Delivery, Sent


class Channel(ABC):
    """The connection to one destination, for one thread at a time. Nothing is connected before it is needed.

    Trouble with the destination is a value, a `Sent` with outcome UNREACHABLE or REFUSED, and never an exception.
    """

    test_name: str
    """What `test` does, in a word or two: "C-ECHO"."""

    @abstractmethod
    def send(self, delivery: Delivery) -> Sent:
        """Send one result object: the same bytes each time."""

    @abstractmethod
    def test(self) -> str:
        """Test the connection without sending a result: a sentence that names the fault, "" where there is none."""

    @abstractmethod
    def close(self) -> None:
        """End the connection, if there is one."""

    def rest(self) -> None:  # noqa: B027 (most types have nothing to do here)
        """Called while nothing is due: read what came on a kept connection, and end one that has been idle."""

    @property
    def awaits_reports(self) -> bool:
        """Whether the destination may report on a kept connection, so that `rest` must be called every second."""
        return False


@dataclass(frozen=True)
class Hooks:
    """What a channel tells the daemon. The defaults listen to nothing."""

    on_event: Callable[[str, dict[str, str]], None] = lambda kind, detail: None
    """A security event: its kind, and a detail without patient data."""
    on_commit_report: Callable[[Any], None] = lambda report: None
    """The destination's report on storage commitment."""


@dataclass(frozen=True)
class DestinationType:
    """A type of destination: its keys in the configuration, and how a channel is opened."""

    settings: type[DestinationSettings]
    open: Callable[[Settings, Any, Hooks], Channel]
    """Called with the settings, the destination (of the class `settings`) and the hooks; connects nothing. Raises
    CannotWork where files that it names cannot be used."""
