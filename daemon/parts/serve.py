"""`hilum serve`: one parent process that starts the parts as child processes and keeps them running.

The parent does no work itself and opens no database: it forks, waits, and forks again when a part has ended. A part
that a bad image kills is started again. A part that exits with EX_CONFIG, because it cannot work with this
configuration, ends the daemon.
"""

import importlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from config.settings import ConfigurationError, Settings
from daemon.decisions import CannotWork, place
from daemon.retries import restart_pause
from daemon.runtime import certificates, log
from daemon.runtime.clock import now
from daemon.runtime.private import close_to_others
from daemon.runtime.shared import FaultHook, Shared
from daemon.runtime.stopping import end_with
from storage.spool import no_fault

RECEIVER, HOUSE = "receive", "house"
HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
LONGEST_WAIT_SECONDS = 1.0  # a SIGCHLD may have been used up by `_end` while it waited for other parts
STEADY_SECONDS = 60.0  # after this long, the end of a part counts as its first failure again
STOP_SECONDS = 60.0  # the time that the other parts have to finish what is in flight
STOP_HOUSE_SECONDS = 20.0  # the time that the house has after them
STOPPED, CANNOT_WORK = 0, 1  # exit statuses of the daemon


@dataclass
class Part:
    """A process of the daemon. Times are in seconds of the monotonic clock."""

    name: str
    module: str
    """The module whose `run` it executes; imported in the child alone, so that the receiver does not load torch."""
    pid: int = 0
    """0 while it does not run."""
    started: float = 0.0
    failures: int = 0
    """How many times in a row it ended."""
    due: float = 0.0
    """When to start it, if it does not run."""


def parts_for(settings: Settings) -> list[Part]:
    """Return the parts of a daemon with these settings; none is started yet."""
    analysers = [Part(f"analyse-{n}", "daemon.parts.analyse") for n in range(settings.model.workers)]
    others = [Part(name, f"daemon.parts.{name}") for name in (RECEIVER, "deliver", HOUSE)]
    return [*others, *analysers]


def serve(settings: Settings, reload: Callable[[], Settings], fault: FaultHook = no_fault) -> int:
    """Run the daemon until SIGTERM or SIGINT. SIGHUP has it read the configuration again with `reload`: see `_reload`.

    Returns the exit status: STOPPED, or CANNOT_WORK if a part cannot work with this configuration. The calling process
    must have only one thread, because it forks.
    """
    close_to_others()
    log.configure(settings.log.level, "parent")
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    shared, parts = Shared.of(settings, reload, fault), parts_for(settings)
    while True:
        for part in parts:
            _start_if_due(part, settings, shared)
        heard = signal.sigtimedwait(HEARD, _pause(parts))
        if os.EX_CONFIG in [_reap(part) for part in parts]:
            _stop(parts)
            return CANNOT_WORK
        if heard and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
            _stop(parts)
            return STOPPED
        if heard and heard.si_signo == signal.SIGHUP:
            try:
                old, settings = settings, _read_again(reload)
            except ConfigurationError as refused:
                log.get().error("configuration refused, the old one stays", fault=str(refused))
                continue
            shared, parts = shared.for_new_parts(settings), _reload(parts, old, settings)


def _read_again(reload: Callable[[], Settings]) -> Settings:
    """Return the new settings. Raises ConfigurationError if they, or a TLS file that they name, cannot be used."""
    settings = reload()
    faults = certificates.faults(settings, now())
    if faults:
        raise ConfigurationError("\n".join(faults))
    return settings


def _reload(parts: list[Part], old: Settings, new: Settings) -> list[Part]:
    """Stop the parts and return those to run instead.

    Unless [dicom] or [storage] changed, the receiver keeps running, with its port and associations open, and takes over
    peers and certificates by itself.
    """
    keep = (old.dicom, old.storage) == (new.dicom, new.storage)
    kept = {part.name: part for part in parts if keep and part.pid and part.name == RECEIVER}
    for part in kept.values():
        os.kill(part.pid, signal.SIGHUP)
    _stop([part for part in parts if part.name not in kept])
    log.configure(new.log.level, "parent")
    log.get().info("configuration reloaded")
    return [kept.get(part.name, part) for part in parts_for(new)]


def _start_if_due(part: Part, settings: Settings, shared: Shared) -> None:
    if part.pid or time.monotonic() < part.due:
        return
    part.started, parent = time.monotonic(), os.getpid()
    part.pid = os.fork()
    if not part.pid:
        end_with(parent)
        _run_as_child(part, settings, shared)


def _run_as_child(part: Part, settings: Settings, shared: Shared) -> None:
    """Run the part in this process, a child, and exit with its status; never returns."""
    status = os.EX_SOFTWARE
    try:
        log.configure(settings.log.level, part.name)
        log.get().info("started", pid=os.getpid())
        importlib.import_module(part.module).run(settings, shared, part.name)
        status = os.EX_OK
    except CannotWork as fault:
        log.get().error("cannot work", fault=str(fault))
        status = os.EX_CONFIG
    except Exception as error:  # whatever it was, the parent starts the part again; the text may hold patient data
        log.get().error("unhandled exception", error=type(error).__name__, place=place(error))
    finally:
        os._exit(status)


def _pause(parts: list[Part]) -> float:
    """Return the seconds until the next part is due to start, at most LONGEST_WAIT_SECONDS."""
    return max(0.0, min([LONGEST_WAIT_SECONDS, *(part.due - time.monotonic() for part in parts if not part.pid)]))


def _reap(part: Part) -> int | None:
    """If the part's process ended, plan when to start it again and return its exit code; otherwise return None.

    The exit code is negative where a signal ended the process: minus the signal's number.
    """
    pid, status = os.waitpid(part.pid, os.WNOHANG) if part.pid else (0, 0)
    if not pid:
        return None
    part.pid = 0
    code = os.waitstatus_to_exitcode(status)
    _plan_restart(part, code)
    return code


def _plan_restart(part: Part, code: int) -> None:
    """Set when the part is started again, after a pause that grows with each failure, and log why it ended."""
    steady = time.monotonic() - part.started > STEADY_SECONDS
    part.failures = 1 if steady else part.failures + 1
    pause = restart_pause(part.failures)
    part.due = time.monotonic() + pause
    cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    log.get().error("part ended", of=part.name, cause=cause, again_in_seconds=round(pause, 1))


def _stop(parts: list[Part]) -> None:
    """Have every part finish what is in flight, and wait for it.

    The house ends last, so that it can still send to the syslog server that the others ended.
    """
    _end([part for part in parts if part.name != HOUSE], STOP_SECONDS)
    _end([part for part in parts if part.name == HOUSE], STOP_HOUSE_SECONDS)
    log.get().info("stopped")


def _end(parts: list[Part], seconds: float) -> None:
    """Send SIGTERM and wait until all have ended; after `seconds`, send SIGKILL to those that have not."""
    for part in parts:
        if part.pid:
            os.kill(part.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(part.pid for part in parts):
        signal.sigtimedwait({signal.SIGCHLD}, 0.2)
        for part in parts:
            if part.pid and time.monotonic() > deadline:
                os.kill(part.pid, signal.SIGKILL)
            if part.pid and os.waitpid(part.pid, os.WNOHANG)[0]:
                part.pid = 0
