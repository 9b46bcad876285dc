"""What bounds the work of an analysing process: its time, and patience with a database that cannot be reached."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon.runtime.vitals import DATABASE_SECONDS, WAITING_SECONDS, Vital
from storage.errors import DatabaseUnavailable

AGAIN_SECONDS = 1.0


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process, by SIGALRM's default action, if the block takes longer than `seconds`; 0: no limit.

    A decoder that hangs in C code never returns to Python, so a signal handler written in Python could not stop it.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def working(vital: Vital, seconds: float) -> Iterator[None]:
    """As `limited`; for that time, no sign of life is expected."""
    vital.beat(seconds + WAITING_SECONDS if seconds else float("inf"))
    with limited(seconds):
        yield
    vital.beat(DATABASE_SECONDS)


def until_written(write: Callable[[], object], vital: Vital) -> None:
    """Call `write`, which writes to the journal, again and again until the database can be reached."""
    while True:
        vital.beat(DATABASE_SECONDS)
        try:
            write()
            return
        except DatabaseUnavailable:
            time.sleep(AGAIN_SECONDS)
