"""`hilum serve`: one parent that starts the parts of the line as processes and keeps them running.

The parent holds no work and opens no database: it forks, waits, and forks again what died. A part that a bad image
kills is started anew; a part that says the configuration cannot work (EX_CONFIG) ends the daemon.
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
from daemon.runtime.shared import FaultHook, Shared, no_fault
from daemon.runtime.stopping import end_with

RECEIVER, HOUSE = "receive", "house"
HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
LONGEST_LOOK_SECONDS = 1.0  # the signal that a part ended may have come while others were being stopped
STEADY_SECONDS = 60.0  # a part that ran this long starts with a clean slate
STOP_SECONDS = 60.0  # what is in flight has this long to finish
STOP_HOUSE_SECONDS = 20.0


@dataclass
class Part:
    """A process of the line: the module whose `run` it is, and how its last start went.

    The module is imported in the child alone: the receiver need not carry torch.
    """

    name: str
    module: str
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    due: float = 0.0


def line(settings: Settings) -> list[Part]:
    """The processes of one daemon."""
    analysts = [Part(f"analyse-{n}", "daemon.parts.analyse") for n in range(settings.model.workers)]
    others = [Part(name, f"daemon.parts.{name}") for name in (RECEIVER, "deliver", HOUSE)]
    return [*others, *analysts]


def serve(settings: Settings, reload: Callable[[], Settings], fault: FaultHook = no_fault) -> int:
    """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again: see `_reload`.

    Returns the exit status: 0, or 1 where a part cannot work with this configuration. The caller must have one thread.
    """
    log.configure(settings.log.level, "parent")
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    shared, parts = Shared.of(settings, reload, fault), line(settings)
    while True:
        for part in parts:
            _start_if_due(part, settings, shared)
        heard = signal.sigtimedwait(HEARD, _pause(parts))
        survivors = [_lives_on(part) for part in parts]
        if not all(survivors):
            return _stop(parts) or 1
        if heard and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
            return _stop(parts)
        if heard and heard.si_signo == signal.SIGHUP:
            try:
                old, settings = settings, _read_again(reload)
            except ConfigurationError as refused:
                log.get().error("configuration refused, the old one stays", fault=str(refused))
                continue
            shared, parts = shared.anew(settings), _reload(parts, old, settings)


def _read_again(reload: Callable[[], Settings]) -> Settings:
    """Raises ConfigurationError where the configuration, or a TLS file that it names, is no good."""
    settings = reload()
    faults = certificates.faults(settings, now())
    if faults:
        raise ConfigurationError("\n".join(faults))
    return settings


def _reload(parts: list[Part], old: Settings, new: Settings) -> list[Part]:
    """Stop the parts; those to start in their place.

    The receiver goes on, port and associations open, and takes over peers and certificates by itself, unless what it
    stands on has changed.
    """
    stands = (old.dicom, old.storage) == (new.dicom, new.storage)
    goes_on = {part.name: part for part in parts if stands and part.pid and part.name == RECEIVER}
    for part in goes_on.values():
        os.kill(part.pid, signal.SIGHUP)
    _stop([part for part in parts if part.name not in goes_on])
    log.configure(new.log.level, "parent")
    log.get().info("configuration reloaded")
    return [goes_on.get(part.name, part) for part in line(new)]


def _start_if_due(part: Part, settings: Settings, shared: Shared) -> None:
    if part.pid or time.monotonic() < part.due:
        return
    part.started, parent = time.monotonic(), os.getpid()
    part.pid = os.fork()
    if not part.pid:
        end_with(parent)
        _become(part, settings, shared)


def _become(part: Part, settings: Settings, shared: Shared) -> None:
    """The child's whole life; never returns."""
    status = os.EX_SOFTWARE
    try:
        log.configure(settings.log.level, part.name)
        log.get().info("started", pid=os.getpid())
        importlib.import_module(part.module).run(settings, shared, part.name)
        status = os.EX_OK
    except CannotWork as fault:
        log.get().error("cannot work", fault=str(fault))
        status = os.EX_CONFIG
    except Exception as error:
        log.get().error("died", error=type(error).__name__, place=place(error))
    finally:
        os._exit(status)


def _pause(parts: list[Part]) -> float:
    """Seconds until the next part is to be started, or looked at."""
    return max(0.0, min([LONGEST_LOOK_SECONDS, *(part.due - time.monotonic() for part in parts if not part.pid)]))


def _lives_on(part: Part) -> bool:
    """False where the daemon must end with this part; a part that died is given a time to start again."""
    pid, status = os.waitpid(part.pid, os.WNOHANG) if part.pid else (0, 0)
    if not pid:
        return True
    part.pid = 0
    code = os.waitstatus_to_exitcode(status)
    steady = time.monotonic() - part.started > STEADY_SECONDS
    part.failures = 1 if steady else part.failures + 1
    pause = restart_pause(part.failures)
    part.due = time.monotonic() + pause
    cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    log.get().error("part ended", of=part.name, cause=cause, again_in_seconds=round(pause, 1))
    return code != os.EX_CONFIG


def _stop(parts: list[Part]) -> int:
    """Ask every part to finish what is in flight, and wait for it; 0. The last one sends out that the others ended."""
    _end([part for part in parts if part.name != HOUSE], STOP_SECONDS)
    _end([part for part in parts if part.name == HOUSE], STOP_HOUSE_SECONDS)
    log.get().info("stopped")
    return 0


def _end(parts: list[Part], seconds: float) -> None:
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
