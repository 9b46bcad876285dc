"""Keeps the journal's due times right although somebody sets the clock. The times of both clocks are handed in."""

from datetime import datetime

from config.sections import DeliverySettings
from daemon.retries import COMMIT_REPORT_SECONDS, TROUBLE_SECONDS
from daemon.runtime import log
from daemon.runtime.clock import ClockWatch
from storage.errors import DatabaseUnavailable
from storage.journal import Journal

CHECK_SECONDS = 20.0  # how often the journal is asked for times that lie too far ahead


class DueTimes:
    """Call `look` every second.

    Whether or not a step was noticed (the clock may have been set while the daemon was down), nothing waits longer than
    the longest pause that the configuration has.
    """

    def __init__(self, policy: DeliverySettings, journal: Journal, wall: datetime, monotonic: float):
        self._journal, self._watch = journal, ClockWatch(wall, monotonic)
        retry = max(policy.first_retry_seconds, policy.longest_retry_seconds)
        self._longest = max(retry, COMMIT_REPORT_SECONDS, TROUBLE_SECONDS)
        self._forward, self._back = 0.0, False
        self._check_at = monotonic

    def look(self, wall: datetime, monotonic: float) -> bool:
        """Return whether the clock was set since the last call. Then the due times are put right at once."""
        step = self._watch.step(wall, monotonic)
        if step:
            log.get().warning("the clock was set", by_seconds=round(step, 1))
            self._forward, self._back = self._forward + max(step, 0.0), self._back or step < 0
        if step or monotonic >= self._check_at:
            self._check_at = monotonic + CHECK_SECONDS
            self._put_right(wall)
        return bool(step)

    def _put_right(self, wall: datetime) -> None:
        try:
            if self._forward:
                self._journal.set_forward(wall, self._forward)
                self._forward = 0.0
            found = self._journal.bring_forward(wall, 0.0 if self._back else self._longest)
        except DatabaseUnavailable:
            return  # the next check does it
        if found and not self._back:
            log.get().warning("due times were too far ahead", brought_forward=found)
        self._back = False
