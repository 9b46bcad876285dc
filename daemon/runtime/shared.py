"""What the parent of `hilum serve` shares with the parts that it forks."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from config.settings import Settings
from daemon.runtime.doorbell import Doorbell
from daemon.runtime.vitals import Vital
from storage.spool import no_fault

FaultHook = Callable[[str], None]
Reload = Callable[[], Settings]


@dataclass(frozen=True)
class Shared:
    """The doorbells, the signs of life, the run's identifier and two functions.

    Made before the fork, so that every part has the same.
    """

    analyse: Doorbell
    """Rung when there is something to analyse; all analysing parts wait for it."""
    deliver: dict[str, Doorbell]
    """Rung when there is something to deliver: one for each destination, by its name."""
    run_id: str
    """Differs for each start of the daemon. A claim left by a crashed worker can thus be told from one left by an
    earlier run."""
    reload: Reload
    """Reads the configuration again, for parts that take it over while they run. Raises ConfigurationError."""
    fault: FaultHook = no_fault
    """Called with a name before and after every durable operation. The crash tests pass one that kills."""
    vitals: Mapping[str, Vital] = field(default_factory=dict)
    """The signs of life of each part, and of the parent, by name."""
    predecessor: int = 0
    """The process whose port a new receiver takes over; 0 for none."""

    @classmethod
    def of(cls, settings: Settings, reload: Reload, fault: FaultHook = no_fault, names: Iterable[str] = ()) -> "Shared":
        """What the parts of a daemon with these settings share; `names` are those that give signs of life."""
        vitals = {name: Vital() for name in names}
        return cls(Doorbell(), _bells(settings, {}), uuid4().hex, reload, fault, vitals)

    def for_new_parts(self, settings: Settings, names: Iterable[str], replaced: Collection[str]) -> "Shared":
        """After a reload: what the parts that go on have, and new bells and vitals for what is new in `settings`.

        If analysing parts are among those `replaced`, there is a new run identifier. A new receiver has a vital of its
        own, because it starts while its predecessor still works.
        """
        kept = {name: vital for name, vital in self.vitals.items() if name != "receive" or name not in replaced}
        return replace(
            self,
            deliver=_bells(settings, self.deliver),
            run_id=uuid4().hex if any(name.startswith("analyse") for name in replaced) else self.run_id,
            vitals={name: kept.get(name) or Vital() for name in names},
        )

    def ring_deliver(self) -> None:
        """Wake the courier of every destination."""
        for bell in self.deliver.values():
            bell.ring()


def _bells(settings: Settings, known: Mapping[str, Doorbell]) -> dict[str, Doorbell]:
    return {destination.name: known.get(destination.name) or Doorbell() for destination in settings.destination}
