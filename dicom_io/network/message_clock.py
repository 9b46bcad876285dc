"""How long a peer may take: for a message that it began, and between two signs of life."""

import time
from collections.abc import Callable

LONGEST_WAIT = 3600.0  # seconds; what `seconds_left` returns at most, so that poll() always gets a number


class MessageClock:
    """The two time limits of one association. Used by one thread.

    `message_seconds`: from the first byte of a message to its last, which ends a peer that sends a byte at a time.
    `idle_seconds`: without a byte from the peer; None means no limit. `monotonic` returns seconds on a clock that
    never jumps.
    """

    def __init__(
        self,
        message_seconds: float = LONGEST_WAIT,
        idle_seconds: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._message_seconds, self._idle_seconds, self._monotonic = message_seconds, idle_seconds, monotonic
        self._message_began: float | None = None
        self._last_activity = monotonic()

    def restart_idle_time(self) -> None:
        """The peer sent something, or we finished a request of its own: it may be silent for `idle_seconds` again."""
        self._last_activity = self._monotonic()

    def begin_message(self) -> None:
        """Part of a message, or of any other PDU, has arrived. Its time runs from the first call."""
        if self._message_began is None:
            self._message_began = self._monotonic()

    def end_message(self) -> None:
        """Nothing incomplete is left; the next message gets the whole time."""
        self._message_began = None

    @property
    def in_message(self) -> bool:
        """Whether the peer has begun something that is not complete."""
        return self._message_began is not None

    def seconds_left(self) -> float:
        """Seconds until the idle timeout or the message timeout, whichever comes first; negative after it."""
        return min(self._idle_left(), self._message_left(), LONGEST_WAIT)

    def exceeded(self) -> str:
        """The limit that the peer exceeded, in words; "" while it is within both."""
        if self._idle_left() <= 0:
            return f"silent for {self._idle_seconds:g} s"
        if self._message_left() <= 0:
            return f"a message took more than {self._message_seconds:g} s"
        return ""

    def _idle_left(self) -> float:
        if self._idle_seconds is None:
            return LONGEST_WAIT
        return self._idle_seconds - (self._monotonic() - self._last_activity)

    def _message_left(self) -> float:
        if self._message_began is None:
            return LONGEST_WAIT
        return self._message_seconds - (self._monotonic() - self._message_began)
