"""Doorbells: how one process wakes another to look into the journal."""

import os
import select


class Doorbell:
    """An event between processes that says "look into the journal", and never what to find there (Linux eventfd).

    It is made before a fork and shared by parent and children. A ring that is lost, or meant for a process that died,
    costs only time, because the waiting process looks into the journal after each timeout anyway. Unlike a lock or a
    condition, a doorbell cannot be left locked by a killed process.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake one process that waits, or the next that will. Never blocks."""
        os.eventfd_write(self._fd, 1)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as the bell has been rung since the last wait, False after `seconds`."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:  # another process that waits for this bell read the ring first
            return False
        return True
