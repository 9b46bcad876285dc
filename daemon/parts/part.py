"""A part of the daemon, as its parent sees it: a process that is started, watched, ended, and started again."""

import importlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from config.settings import Settings
from daemon.decisions import CannotWork, place
from daemon.retries import restart_pause
from daemon.runtime import log
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import end_with
from daemon.runtime.vitals import FROZEN_SECONDS, Vital

STEADY_SECONDS = 60.0  # after this long, the end of a part counts as its first failure again


@dataclass
class Part:
    """A process of the daemon. Times are in seconds of the monotonic clock."""

    name: str
    module: str
    """The module whose `run` it executes; imported in the child alone, so that the receiver does not load torch."""
    vital: Vital = field(default_factory=Vital)
    pid: int = 0
    """0 while it does not run."""
    started: float = 0.0
    failures: int = 0
    """How many times in a row it ended."""
    due: float = 0.0
    """When to start it, if it does not run."""
    leaves_by: float | None = None
    """Set once it is no longer wanted: by when it must have ended. It is not started again."""

    def start(self, settings: Settings, shared: Shared) -> None:
        """Start the process."""
        self.started = time.monotonic()
        self.vital.start()

        def work() -> None:
            log.get().info("started", pid=os.getpid())
            importlib.import_module(self.module).run(settings, shared, self.name)

        self.pid = fork(self.name, settings.log.level, work)

    def reap(self) -> int | None:
        """If the process has ended, plan when to start it again and return its exit code; otherwise return None.

        The exit code is negative where a signal ended the process: minus the signal's number. A part that was to leave
        has just left: None. A process that is stopped, or continues after that, has to give a sign of life soon.
        """
        if not self.pid:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if not pid:
            return None
        if os.WIFSTOPPED(status):
            self.vital.hurry(FROZEN_SECONDS)
            return None
        if os.WIFCONTINUED(status):
            self.vital.excuse()
            return None
        self.pid = 0
        self.vital.end()
        if self.leaves_by is not None:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._plan_restart(code)
        return code

    def _plan_restart(self, code: int) -> None:
        """Set when the part is started again, after a pause that grows with each failure, and log why it ended."""
        steady = time.monotonic() - self.started > STEADY_SECONDS
        self.failures = 1 if steady else self.failures + 1
        pause = restart_pause(self.failures)
        self.due = time.monotonic() + pause
        log.get().error("part ended", of=self.name, cause=cause_of(code), again_in_seconds=round(pause, 1))

    def leave(self, seconds: float) -> None:
        """Have the process finish what it has begun and end, within `seconds`; it is not started again."""
        self.leaves_by = time.monotonic() + seconds
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)

    def kill_if_hanging(self, at: float) -> None:
        """Kill the process if it hangs: its sign of life is overdue, or it did not leave in time."""
        if not self.pid:
            return
        if self.leaves_by is None and self.vital.is_overdue(at):
            log.get().error("part hangs", of=self.name)
            os.kill(self.pid, signal.SIGKILL)
            self.vital.excuse()  # until its end is noticed
        elif self.leaves_by is not None and at > self.leaves_by:
            os.kill(self.pid, signal.SIGKILL)


def cause_of(code: int) -> str:
    """Return how a process with this exit code ended: by which signal, or with which exit status."""
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def fork(name: str, level: str, work: Callable[[], int | None]) -> int:
    """Do `work` in a child process whose log names it `name`; return the child's number to the parent.

    The child exits with what `work` returns (None: EX_OK), with EX_CONFIG after CannotWork, and with EX_SOFTWARE after
    any other exception. The calling process must have only one thread.
    """
    parent, pid = os.getpid(), os.fork()
    if pid:
        return pid
    status = os.EX_SOFTWARE
    try:
        end_with(parent)
        log.configure(level, name)
        status = work() or os.EX_OK
    except CannotWork as fault:
        log.get().error("cannot work", fault=str(fault))
        status = os.EX_CONFIG
    except Exception as error:  # whatever it was, the parent decides; the text may hold patient data
        log.get().error("unhandled exception", error=type(error).__name__, place=place(error))
    finally:
        os._exit(status)
