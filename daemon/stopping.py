"""How a part learns that it is to end: the signal handler only sets a flag."""

import signal
import threading
from queue import SimpleQueue


def on_sigterm() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def heard() -> "SimpleQueue[int]":
    """SIGTERM, SIGINT and SIGHUP in the order in which they come, for a part that can reload."""
    queue: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: queue.put(number))
    return queue
