"""How a part learns that it is to end, or to read its configuration again."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int) -> None:
    """SIGTERM for this process as soon as `parent`, which forked it, is gone in whatever way. On Linux alone.

    Without it, parts whose parent was killed would go on and keep the port from the daemon that is started next.
    """
    if hasattr(os, "pidfd_open"):  # Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(os.EX_OK)


# A part begins with these held back, so that none comes before it is ready, nor to a thread of some library's.
STOPS = {signal.SIGTERM, signal.SIGINT}


def on_stop(handler: Callable[[int, Any], None]) -> None:
    """Have SIGTERM and SIGINT call `handler` from now on, also one that came before."""
    for number in STOPS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def on_sigterm() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    on_stop(lambda _number, _frame: stop.set())
    return stop


def next_signal() -> int:
    """Wait for the next of SIGTERM, SIGINT and SIGHUP, in a part that can reload."""
    return signal.sigwait(STOPS | {signal.SIGHUP})
