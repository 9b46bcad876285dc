"""A bell between processes: it says "look at the journal", never what stands there."""

import os
import select


class Doorbell:
    """Made before a fork, shared by parent and children (Linux eventfd).

    A ring that is lost, or rung for a process that died, costs only time: who waits looks at the journal at each
    timeout anyway. Unlike a lock or a condition it cannot be left locked by a killed process.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake who waits; never blocks."""
        os.eventfd_write(self._fd, 1)

    def wait(self, seconds: float) -> bool:
        """True as soon as the bell was rung since the last wait, False after `seconds`."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:  # another process that waits here was faster
            return False
        return True
