"""`hilum serve`: one parent process that starts the parts as child processes and keeps them running.

The parent does no work itself and opens no database: it forks, waits, and forks again when a part has ended or hangs.
A part that a bad image kills is started again. A part that exits with EX_CONFIG, because it cannot work with this
configuration, ends the daemon; but once every part has worked, nothing ends reception any more.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from config.settings import ConfigurationError, Settings
from daemon.decisions import place
from daemon.parts import changes
from daemon.parts.changes import ANALYSER, DELIVERER, HOUSE, NOTIFIER, RECEIVER, Configuration
from daemon.parts.part import Part, cause_of, fork
from daemon.runtime import log
from daemon.runtime.person import sender
from daemon.runtime.private import close_to_others
from daemon.runtime.shared import FaultHook, Shared
from daemon.runtime.vitals import WAITING_SECONDS
from storage.spool import no_fault

PARENT = "parent"
HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
LONGEST_WAIT_SECONDS = 1.0  # a SIGCHLD may have been used up by `_end` while it waited for other parts
AWAY_SECONDS = 5.0  # longer than that between two rounds, and the whole machine or the process group was stopped
TRIAL_SECONDS = 600.0  # the time that a new configuration has to prove itself: a large model is compiled
STOP_SECONDS = 60.0  # the time that the other parts have to finish what is in flight
STOP_HOUSE_SECONDS = 20.0  # the time that the house has after them
STOPPED, CANNOT_WORK = 0, 1  # exit statuses of the daemon


def names_for(settings: Settings) -> list[str]:
    """Return the names of the parts of a daemon with these settings."""
    analysers = (f"{ANALYSER}-{number}" for number in range(settings.analysis.workers))
    return [RECEIVER, DELIVERER, HOUSE, *([NOTIFIER] if settings.notifier else []), *analysers]


def serve(settings: Settings, reload: Callable[[], Settings], fault: FaultHook = no_fault) -> int:
    """Run the daemon until SIGTERM or SIGINT. SIGHUP has it read the configuration again with `reload`.

    Returns the exit status: STOPPED, or CANNOT_WORK if a part cannot work with this configuration. The calling process
    must have only one thread, because it forks.
    """
    close_to_others()
    log.configure(settings.log.level, PARENT)
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    return Parent(settings, reload, fault).run()


@dataclass
class RunningTrial:
    """A new configuration whose trial is under way."""

    new: Configuration
    actor: str
    """Who asked for it."""
    refused: ConfigurationError | None
    """Why it is refused without a trial: then the process only records that."""
    pid: int
    deadline: float


class Parent:
    """The parent process: its parts, and the configuration that they work with."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings], fault: FaultHook):
        names = names_for(settings)
        self._configuration, self._reload = Configuration.of(settings), reload
        self._shared = Shared.of(settings, reload, fault, [PARENT, *names])
        self._parts = [self._part(name) for name in names]
        self._trial: RunningTrial | None = None
        self._asked_by = ""  # who asked for a reload that has not begun
        self._established = False
        self._turned = time.monotonic()

    def _part(self, name: str) -> Part:
        return Part(name, f"daemon.parts.{name.split('-')[0]}", self._shared.vitals[name])

    def run(self) -> int:
        """Start the parts and keep them running until the end; return the exit status."""
        while True:
            self._start_parts()
            heard = signal.sigtimedwait(HEARD, self._pause())
            codes = self._look_after_parts(time.monotonic())
            if os.EX_CONFIG in codes and not self._established:
                self._stop()
                return CANNOT_WORK
            if heard and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stop()
                return STOPPED
            if heard and heard.si_signo == signal.SIGHUP:
                self._asked_by = f"operator {sender(heard)}"
            if self._trial:
                self._end_trial(self._trial)
            elif self._asked_by:
                self._begin_trial()

    def _start_parts(self) -> None:
        """Start the parts that are due.

        One waits until those of its kind that leave are gone, because it takes up their work. The receiver does not: it
        asks its predecessor to go once it is ready itself.
        """
        leaving = [part for part in self._parts if part.leaves_by is not None and part.pid]
        modules = {part.module for part in leaving if part.name != RECEIVER}
        predecessor = next((part.pid for part in leaving if part.name == RECEIVER), 0)
        for part in self._parts:
            if not part.pid and part.leaves_by is None and part.module not in modules and time.monotonic() >= part.due:
                part.start(self._configuration.settings, replace(self._shared, predecessor=predecessor))

    def _pause(self) -> float:
        """Return the seconds until the next part is due to start, at most LONGEST_WAIT_SECONDS."""
        waiting = (part.due - time.monotonic() for part in self._parts if not part.pid)
        return min([LONGEST_WAIT_SECONDS, *(seconds for seconds in waiting if seconds > 0)])

    def _look_after_parts(self, at: float) -> list[int | None]:
        """Notice which parts ended and kill those that hang; return the exit codes of those that ended."""
        codes = [part.reap() for part in self._parts]
        self._parts = [part for part in self._parts if part.pid or part.leaves_by is None]
        if at - self._turned > AWAY_SECONDS:
            for vital in self._shared.vitals.values():
                vital.excuse()
        self._turned = at
        self._shared.vitals[PARENT].promise(at + WAITING_SECONDS)
        for part in self._parts:
            part.kill_if_hanging(at)
        self._dismiss_receiver()
        self._established = self._established or all(part.vital.works for part in self._parts)
        return codes

    def _dismiss_receiver(self) -> None:
        """Set a limit for the old receiver to leave by, once the new one works."""
        receivers = [part for part in self._parts if part.name == RECEIVER]
        if any(part.leaves_by is None and part.vital.works for part in receivers):
            for part in receivers:
                if part.leaves_by == float("inf"):
                    part.leave(STOP_SECONDS)

    # --- SIGHUP ---

    def _begin_trial(self) -> None:
        """Read the configuration again, and have another process prove that every part can work with it."""
        actor, self._asked_by = self._asked_by, ""
        try:
            self._fork_trial(Configuration.of(self._reload()), actor, None)
        except ConfigurationError as refused:
            self._fork_trial(self._configuration, actor, refused)
        except Exception as error:  # nothing that is in a file may end the daemon
            fault = ConfigurationError(f"unexpected {type(error).__name__} in {place(error)}")
            self._fork_trial(self._configuration, actor, fault)

    def _fork_trial(self, new: Configuration, actor: str, refused: ConfigurationError | None) -> None:
        old = self._configuration

        def work() -> int:
            from daemon.parts import trial  # here, because it loads what the parent does without

            return trial.refuse(old.settings, refused, actor) if refused else trial.run(old, new, actor)

        pid = fork("reload", old.settings.log.level, work)
        self._trial = RunningTrial(new, actor, refused, pid, time.monotonic() + TRIAL_SECONDS)

    def _end_trial(self, trial: RunningTrial) -> None:
        """If the trial has ended, put the new configuration into force, or leave the old one."""
        pid, status = os.waitpid(trial.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() > trial.deadline:
                os.kill(trial.pid, signal.SIGKILL)
            return
        self._trial = None
        code = os.waitstatus_to_exitcode(status)
        if code == os.EX_OK:
            self._put_into_force(trial.new)
        elif code != os.EX_CONFIG and trial.refused is None:  # otherwise it has said why
            fault = f"the process that tried it ended with {cause_of(code)}"
            keys = changes.changed_keys(self._configuration, trial.new)
            self._fork_trial(self._configuration, trial.actor, ConfigurationError(fault, keys))

    def _put_into_force(self, new: Configuration) -> None:
        """Replace the parts that changed sections concern; have the others go on."""
        keys = changes.changed_keys(self._configuration, new)
        sections, names = changes.sections_of(keys), names_for(new.settings)
        present = [part for part in self._parts if part.leaves_by is None]
        replaced = [part for part in present if part.name not in names or changes.restarts(part.name, sections)]
        kept = {part.name: part for part in present if part not in replaced}
        _dismiss(replaced)
        self._shared = self._shared.for_new_parts(new.settings, [PARENT, *names], {part.name for part in replaced})
        self._configuration, self._established = new, True
        for part in kept.values():
            if part.pid and changes.takes_over(part.name, sections):
                os.kill(part.pid, signal.SIGHUP)
        self._parts += [self._part(name) for name in names if name not in kept]
        log.configure(new.settings.log.level, PARENT)
        log.get().info("configuration reloaded", keys=keys, restarted=[part.name for part in replaced])

    # --- the end ---

    def _stop(self) -> None:
        """Have every part finish what is in flight, and wait for it.

        The house ends last, so that it can still send to the syslog server that the others ended.
        """
        if self._trial:
            os.kill(self._trial.pid, signal.SIGKILL)
        _end([part for part in self._parts if part.name != HOUSE], STOP_SECONDS)
        _end([part for part in self._parts if part.name == HOUSE], STOP_HOUSE_SECONDS)
        log.get().info("stopped")


def _dismiss(parts: list[Part]) -> None:
    """Have these parts leave. A receiver that works stays until the new one takes over its port."""
    for part in parts:
        if part.name == RECEIVER and part.pid and part.vital.works:
            part.leaves_by = float("inf")
        else:
            part.leave(STOP_SECONDS)


def _end(parts: list[Part], seconds: float) -> None:
    """Have all these parts leave, and wait until they have."""
    for part in parts:
        part.leave(seconds)
    while any(part.pid for part in parts):
        signal.sigtimedwait({signal.SIGCHLD}, 0.2)
        for part in parts:
            part.reap()
            part.kill_if_hanging(time.monotonic())
