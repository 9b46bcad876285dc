"""What the parent of `hilum serve` shares with the parts that it forks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

from config.settings import Settings
from daemon.runtime.doorbell import Doorbell
from storage.spool import no_fault

FaultHook = Callable[[str], None]
Reload = Callable[[], Settings]


@dataclass(frozen=True)
class Shared:
    """The doorbells, the run's identifier and two functions. Made before the fork, so that every part has the same."""

    analyse: Doorbell
    """Rung when there is something to analyse; all analysing parts wait for it."""
    deliver: dict[str, Doorbell]
    """Rung when there is something to deliver: one for each destination, by its name."""
    run_id: str
    """Differs for each start of the daemon. A claim left by a crashed worker can thus be told from one left by an
    earlier run."""
    reload: Reload
    """Reads the configuration again, for the receiver, which takes it over while it runs. Raises
    ConfigurationError."""
    fault: FaultHook = no_fault
    """Called with a name before and after every durable operation. The crash tests pass one that kills."""

    @classmethod
    def of(cls, settings: Settings, reload: Reload, fault: FaultHook = no_fault) -> "Shared":
        """What the parts of a daemon with these settings share."""
        return cls(Doorbell(), _bells(settings), uuid4().hex, reload, fault)

    def for_new_parts(self, settings: Settings) -> "Shared":
        """After a reload: a new run identifier and new bells, except the analysers', which the running receiver rings.

        The destinations may have changed, so each of `settings` gets a new bell.
        """
        return replace(self, deliver=_bells(settings), run_id=uuid4().hex)

    def ring_deliver(self) -> None:
        """Wake the courier of every destination."""
        for bell in self.deliver.values():
            bell.ring()


def _bells(settings: Settings) -> dict[str, Doorbell]:
    return {destination.name: Doorbell() for destination in settings.destination}
