"""Security events: into the log and the audit trail; of a flood, only how many there were."""

import threading
import time
from typing import Any

from daemon.runtime import log
from daemon.runtime.clock import now
from storage.errors import DatabaseUnavailable
from storage.journal import Journal

ONE_IN_SECONDS = 1.0


class Events:
    """Reports what concerns the daemon and no particular study. Safe to call from several threads."""

    def __init__(self, journal: Journal):
        self._journal, self._limit = journal, RateLimit(ONE_IN_SECONDS)

    def security(self, kind: str, detail: dict[str, str]) -> None:
        """Log and record a security event; `detail` holds no patient data.

        At most one event of a kind and a peer address is written in a second. `held_back` in the next one says how many
        were left out before it.
        """
        held_back = self._limit.allow(kind, detail.get("peer_address", ""))
        if held_back is None:
            return
        log.get().warning("security", kind=kind, held_back=held_back, **detail)
        self.note("SECURITY", {"kind": kind, "held_back": held_back, **detail})

    def note(self, event: str, detail: dict[str, Any], actor: str = "hilum") -> None:
        """Add a row to the audit trail. If the database cannot be reached, only the log says so."""
        try:
            self._journal.record(event, now(), actor=actor, detail=detail)
        except DatabaseUnavailable:
            log.get().error("security event not journaled", kind=detail.get("kind", event))


class RateLimit:
    """Allows the same thing once in `seconds`, and counts what it held back."""

    KINDS = 1000  # remembered at most, so that a flood of different addresses costs no memory

    def __init__(self, seconds: float):
        self._seconds, self._lock = seconds, threading.Lock()
        self._last: dict[tuple[str, ...], tuple[float, int]] = {}

    def allow(self, *what: str) -> int | None:
        """Return how many were held back since the last one that was allowed, or None: hold this one back too."""
        with self._lock:
            allowed_at, held_back = self._last.get(what, (float("-inf"), 0))
            if time.monotonic() - allowed_at < self._seconds:
                self._last[what] = (allowed_at, held_back + 1)
                return None
            if len(self._last) >= self.KINDS:
                self._last.clear()
            self._last[what] = (time.monotonic(), 0)
            return held_back
