"""How a part learns that it is to end, or to read its configuration again."""

import signal
import threading
from collections.abc import Callable


def on_sigterm() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def heard() -> Callable[[], int]:
    """What waits for the next of SIGTERM, SIGINT and SIGHUP, for a part that can reload.

    To be called before the part starts a thread: threads inherit the mask, so that no signal goes to one of them.
    """
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    return lambda: signal.sigwait(numbers)
