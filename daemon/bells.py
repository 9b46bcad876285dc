"""The bells of one daemon, made by the parent before it forks."""

from dataclasses import dataclass

from config.settings import Settings
from daemon.doorbell import Doorbell


@dataclass(frozen=True)
class Bells:
    """One bell for the analysts and one for each destination, by name."""

    analyse: Doorbell
    deliver: dict[str, Doorbell]

    @classmethod
    def of(cls, settings: Settings) -> "Bells":
        return cls(Doorbell(), {d.name: Doorbell() for d in settings.destination})

    def ring_deliver(self) -> None:
        """Wake every destination's thread."""
        for bell in self.deliver.values():
            bell.ring()
