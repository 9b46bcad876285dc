"""What the parent shares with the parts that it forks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

from config.settings import Settings
from daemon.runtime.doorbell import Doorbell

FaultHook = Callable[[str], None]
Reload = Callable[[], Settings]


def no_fault(_point: str) -> None:
    """The fault hook of everyday life."""


@dataclass(frozen=True)
class Shared:
    """One bell for the analysts and one for each destination, by name. `life` is different each time
    that a daemon starts: a worker that died alone is told by it from a daemon that ended as a whole.

    `reload` reads the configuration again, for a part that takes it over while it works.

    `fault` is called with a name before and after every durable operation: tests of crashes hand one in that kills.
    """

    analyse: Doorbell
    deliver: dict[str, Doorbell]
    life: str
    reload: Reload
    fault: FaultHook = no_fault

    @classmethod
    def of(cls, settings: Settings, reload: Reload, fault: FaultHook = no_fault) -> "Shared":
        return cls(Doorbell(), _bells(settings), uuid4().hex, reload, fault)

    def anew(self, settings: Settings) -> "Shared":
        """For parts that start beside one that goes on: the analysts' bell, which that one rings, is the same."""
        return replace(self, deliver=_bells(settings), life=uuid4().hex)

    def ring_deliver(self) -> None:
        """Wake every destination's thread."""
        for bell in self.deliver.values():
            bell.ring()


def _bells(settings: Settings) -> dict[str, Doorbell]:
    return {destination.name: Doorbell() for destination in settings.destination}
