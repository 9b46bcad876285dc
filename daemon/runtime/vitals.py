"""Signs of life: each part says until when it will give the next one, in memory that the whole daemon can read."""

import mmap
import time

WAITING_SECONDS = 20.0  # a part that waits for work gives a sign every second, unless it hangs
DATABASE_SECONDS = 90.0  # a statement waits 30 s for a lock, a connection to a server that is away as long again
STARTING_SECONDS = 600.0  # a large model is compiled, or a large database migrated
FROZEN_SECONDS = 5.0  # a stopped process (SIGSTOP) cannot work, whatever it has promised

_NOT_RUNNING, _STARTING, _WORKING = 0.0, 1.0, 2.0


class Vital:
    """The signs of life of one part.

    They are two numbers in shared memory: the condition, and the time of the monotonic clock until which the next sign
    is promised. Processes that are forked afterwards see them too. A killed process cannot leave them locked.
    """

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")

    def start(self) -> None:
        """The process is about to be started: its first sign of life may take STARTING_SECONDS."""
        self._words[1] = time.monotonic() + STARTING_SECONDS
        self._words[0] = _STARTING

    def beat(self, seconds: float = WAITING_SECONDS) -> None:
        """Give a sign of life, and promise the next one within `seconds`."""
        self.promise(time.monotonic() + seconds)

    def promise(self, due: float) -> None:
        """Give a sign of life, and promise the next one before `due` on the monotonic clock."""
        self._words[1] = due
        self._words[0] = _WORKING

    def hurry(self, seconds: float) -> None:
        """Have the next sign be due within `seconds`, even if a longer time was promised."""
        self._words[1] = min(self._words[1], time.monotonic() + seconds)

    def excuse(self, seconds: float = WAITING_SECONDS) -> None:
        """Give the part at least `seconds` from now, because it may not have been able to work."""
        self._words[1] = max(self._words[1], time.monotonic() + seconds)

    def end(self) -> None:
        """The process has ended."""
        self._words[0] = _NOT_RUNNING

    @property
    def due(self) -> float:
        """By when the next sign of life is promised, on the monotonic clock."""
        return self._words[1]

    @property
    def works(self) -> bool:
        """Whether the part has given its first sign of life since it was started."""
        return self._words[0] == _WORKING

    def is_overdue(self, at: float) -> bool:
        """Whether the sign that is promised should have come before `at`, on the monotonic clock."""
        return self._words[0] != _NOT_RUNNING and at > self._words[1]

    def trouble(self, at: float) -> str:
        """Return what is wrong with the part, as the end of a sentence that begins with its name; "" for nothing."""
        if self._words[0] == _NOT_RUNNING:
            return "is not running"
        if self.is_overdue(at):
            return "gives no sign of life"
        return "" if self.works else "is starting"
