"""The only place that asks what time it is, and what notices that somebody set the clock."""

from datetime import UTC, datetime, timedelta

STEP_SECONDS = 5.0  # less than that is no step worth a warning


def now() -> datetime:
    """This moment, with its offset, in UTC."""
    return datetime.now(UTC)


class ClockWatch:
    """Compares the wall clock with the monotonic clock, which nobody can set. Both are handed in."""

    def __init__(self, wall: datetime, monotonic: float, least_seconds: float = STEP_SECONDS):
        self._wall, self._monotonic, self._least = wall, monotonic, least_seconds

    def step(self, wall: datetime, monotonic: float) -> float:
        """Return by how many seconds the wall clock was set forward since the last call; negative: back.

        0.0 if it was not set, or by less than `least_seconds`.
        """
        expected = self._wall + timedelta(seconds=monotonic - self._monotonic)
        self._wall, self._monotonic = wall, monotonic
        seconds = (wall - expected).total_seconds()
        return seconds if abs(seconds) >= self._least else 0.0


class Settling:
    """How long a study must be without a new image, although the clock may be set meanwhile.

    A study seems to have settled when the clock is set forward. Therefore as many seconds are added as the clock was
    set by, until every study that came before has settled.
    """

    LEAST_SECONDS = 0.5

    def __init__(self, settle_seconds: float, wall: datetime, monotonic: float):
        self._settle = settle_seconds
        self._watch = ClockWatch(wall, monotonic, self.LEAST_SECONDS)
        self._added, self._until = 0.0, monotonic

    def seconds(self, wall: datetime, monotonic: float) -> float:
        """Return the seconds to wait after a study's last image, at this moment of both clocks."""
        step = self._watch.step(wall, monotonic)
        if monotonic >= self._until:
            self._added = 0.0
        if step:
            self._added = max(0.0, self._added + step)
            self._until = monotonic + self._settle
        return self._settle + self._added
