"""How a part learns that it must end, or read its configuration again: the signals."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int) -> None:
    """Have this process get SIGTERM as soon as `parent`, which forked it, has ended in whatever way. Only on Linux.

    Otherwise the parts of a killed parent would go on running, and the next daemon could not listen on the port. If the
    parent has ended already, this process exits at once.
    """
    if hasattr(os, "pidfd_open"):  # Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(os.EX_OK)


def is_running(pid: int) -> bool:
    """Whether there is such a process; 0 stands for none."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid > 0


# A part starts with these signals blocked. None is delivered before the part is ready, nor to a library's thread.
STOPS = {signal.SIGTERM, signal.SIGINT}


def on_stop(handler: Callable[[int, Any], None]) -> None:
    """Call `handler` on SIGTERM and SIGINT, including one already pending."""
    for number in STOPS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def end_on_stop() -> None:
    """Have SIGTERM and SIGINT end this process at once, which has nothing to finish."""
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def on_sigterm() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    on_stop(lambda _number, _frame: stop.set())
    return stop


def next_signal(seconds: float) -> int:
    """Wait for SIGTERM, SIGINT or SIGHUP and return its number, or 0 after `seconds`.

    For a part that can reload its configuration while it runs.
    """
    heard = signal.sigtimedwait(STOPS | {signal.SIGHUP}, seconds)
    return heard.si_signo if heard else 0
