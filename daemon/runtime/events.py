"""Security and failure events: into the log and the audit trail, and of a flood only the number."""

import threading
import time
from typing import Any

from daemon.runtime import log
from daemon.runtime.clock import now
from storage.errors import DatabaseUnavailable
from storage.journal import Journal

ONE_IN_SECONDS = 1.0


class Events:
    """What a part of the daemon reports that concerns no study. Used by all of its threads."""

    def __init__(self, journal: Journal):
        self._journal, self._said = journal, Sparingly(ONE_IN_SECONDS)

    def security(self, kind: str, detail: dict[str, str]) -> None:
        """One of a kind and an address each second; `held_back` says how many went before it unsaid."""
        held_back = self._said.may(kind, detail.get("peer_address", ""))
        if held_back is None:
            return
        log.get().warning("security", kind=kind, held_back=held_back, **detail)
        self.note("SECURITY", {"kind": kind, "held_back": held_back, **detail})

    def note(self, event: str, detail: dict[str, Any]) -> None:
        """A row of the audit trail."""
        try:
            self._journal.record(event, now(), detail=detail)
        except DatabaseUnavailable:
            log.get().error("security event not journaled", kind=detail.get("kind", event))


class Sparingly:
    """Lets the same thing be said once in `seconds`, and counts what was held back."""

    KINDS = 1000  # remembered at most, so that a flood of addresses costs no memory

    def __init__(self, seconds: float):
        self._seconds, self._lock = seconds, threading.Lock()
        self._last: dict[tuple[str, ...], tuple[float, int]] = {}

    def may(self, *what: str) -> int | None:
        """How many were held back since it was said last, or None where it is to be held back now."""
        with self._lock:
            said, held_back = self._last.get(what, (float("-inf"), 0))
            if time.monotonic() - said < self._seconds:
                self._last[what] = (said, held_back + 1)
                return None
            if len(self._last) >= self.KINDS:
                self._last.clear()
            self._last[what] = (time.monotonic(), 0)
            return held_back
