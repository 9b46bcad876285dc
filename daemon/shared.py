"""What the parent shares with the parts that it forks."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from config.settings import Settings
from daemon.doorbell import Doorbell

Fault = Callable[[str], None]


def no_fault(_point: str) -> None:
    """The fault hook of everyday life."""


@dataclass(frozen=True)
class Shared:
    """One bell for the analysts and one for each destination, by name. `life` is different each time
    that a daemon starts: a worker that died alone is told by it from a daemon that ended as a whole.

    `fault` is called with a name before and after every durable operation: tests of crashes hand one in that kills.
    """

    analyse: Doorbell
    deliver: dict[str, Doorbell]
    life: str
    fault: Fault = no_fault

    @classmethod
    def of(cls, settings: Settings, fault: Fault = no_fault) -> "Shared":
        return cls(Doorbell(), {d.name: Doorbell() for d in settings.destination}, uuid4().hex, fault)

    def ring_deliver(self) -> None:
        """Wake every destination's thread."""
        for bell in self.deliver.values():
            bell.ring()
