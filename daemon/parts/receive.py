"""The receiving part: listens for associations, and acknowledges each object only once it is durable."""

import errno
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from config.settings import ConfigurationError, Settings
from daemon import pipeline, wiring
from daemon.analysis.triage import urgent_at_reception
from daemon.decisions import CannotWork
from daemon.delivery import commitment
from daemon.runtime import certificates, log
from daemon.runtime.clock import now
from daemon.runtime.events import Events
from daemon.runtime.limits import limit_memory
from daemon.runtime.person import login
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import is_running, next_signal
from daemon.runtime.vitals import WAITING_SECONDS, Vital
from dicom_io.image.no_picture import NoPicture
from dicom_io.network.errors import CannotUnderstand, OutOfResources
from dicom_io.network.statuses import Status
from dicom_io.services.store_scp import Answer, Arrived, Callbacks, StoreScp
from storage.errors import DatabaseUnavailable, SpoolUnavailable
from storage.journal import Journal
from storage.spool import Spool

URGENT = 0  # the DIMSE priority HIGH, as `Arrived.priority` has it
SIGN_SECONDS = 1.0  # how often a sign of life is given
TAKE_OVER_SECONDS, TAKE_OVER_PAUSE_SECONDS = 10.0, 0.02  # how long, and how often, a taken port is tried
ROOM_SECONDS = 1.0  # how old the measured free space of the spool may be
# how long one association's thread computes before another may: with the interpreter's own 5 ms, a flood of large
# association requests delays everybody else several times as long
SWITCH_SECONDS = 0.0002


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Receive until SIGTERM. Raises CannotWork if the address or the spool cannot be used.

    With a predecessor that still listens, its port is taken over; it is asked to go only when all else is ready.
    """
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings, shared.fault)
    inherits = is_running(shared.predecessor)
    swept = [] if inherits else spool.sweep(journal.knows)  # the predecessor still writes to its spool
    reception = Reception(settings, journal, spool, shared)
    scp = (
        _take_over(settings, reception, spool, shared.predecessor) if inherits else _listen(settings, reception, spool)
    )
    exclude_from_collection()
    limit_memory(settings.dicom.memory_limit_bytes)
    sys.setswitchinterval(SWITCH_SECONDS)
    log.get().info("ready", port=scp.port, ae_title=settings.dicom.ae_title, swept=len(swept))
    reception.events.note("STARTED", {"port": scp.port, "pid": os.getpid(), "user": login()})
    _work(scp, reception, shared, shared.vitals[name])
    scp.shutdown()
    reception.events.note("STOPPED", {"pid": os.getpid(), "user": login()})


def _work(scp: StoreScp, reception: "Reception", shared: Shared, vital: Vital) -> None:
    """Until SIGTERM, reload when told to, and give signs of life as long as connections are accepted."""
    while (heard := next_signal(SIGN_SECONDS)) in (0, signal.SIGHUP):
        if heard:
            _reload(scp, reception, shared)
        vital.promise(scp.last_turn + WAITING_SECONDS)


def _listen(settings: Settings, reception: "Reception", spool: Spool) -> StoreScp:
    return wiring.open_scp(settings, reception.callbacks, spool.incoming)


def _take_over(settings: Settings, reception: "Reception", spool: Spool, predecessor: int) -> StoreScp:
    """Listen where the predecessor may be listening. If it is in the way, it is asked to go, and we wait for that."""
    deadline = time.monotonic() + TAKE_OVER_SECONDS
    while True:
        try:
            return _listen(settings, reception, spool)
        except CannotWork as fault:
            taken = isinstance(fault.__cause__, OSError) and fault.__cause__.errno == errno.EADDRINUSE
            if not taken or time.monotonic() > deadline:
                raise
        if is_running(predecessor):
            os.kill(predecessor, signal.SIGTERM)
        time.sleep(TAKE_OVER_PAUSE_SECONDS)


def exclude_from_collection() -> None:
    """Exclude the objects that exist now from garbage collection.

    Python makes a full collection only when the new objects number a quarter of the old ones. With all the libraries
    among the old ones, thousands of associations would go by before that, each leaving a reference cycle behind.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # resets the collector's count of old objects, of which there are now hardly any


def _reload(scp: StoreScp, reception: "Reception", shared: Shared) -> None:
    """Take over what needs no closing of the port: peers, certificates, log level. Associations stay open."""
    try:
        settings = shared.reload()
        scp.replace(wiring.listed_peers(settings), certificates.server_tls(settings))
    except (ConfigurationError, CannotWork) as refused:
        log.get().error("configuration refused, the old one stays", fault=str(refused))
        return
    reception.settings = settings
    log.configure(settings.log.level, "receive")
    log.get().info("configuration reloaded")


class Reception:
    """Handles what arrives. Its methods run in the threads of the associations."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, shared: Shared):
        self.settings, self._journal, self._spool, self._shared = settings, journal, spool, shared
        self._room = every(ROOM_SECONDS, lambda: spool.free_bytes() >= settings.storage.min_free_bytes)
        self.events = Events(journal)
        self.callbacks = Callbacks(
            self.store,
            accepting=self.accepting,
            on_commit_request=lambda asked: commitment.remember(journal, self.settings, asked),
            on_commit_report=partial(commitment.reported, journal),
            on_event=self.events.security,
        )

    def store(self, arrived: Arrived) -> Answer:
        """Store one object and return the answer to its C-STORE.

        Raises CannotUnderstand for an object that cannot be read, OutOfResources if spool or database cannot be used
        now, and the other refusals of `pipeline.receive`.
        """
        began = time.monotonic()
        arrived = replace(arrived, priority=self._priority(arrived))
        try:
            self._spool.settle(self._journal.knows)
            answer = pipeline.receive(arrived, self._spool, self._journal, now())
        except NoPicture as refusal:
            raise CannotUnderstand(refusal.reason) from refusal
        except (DatabaseUnavailable, SpoolUnavailable) as trouble:
            raise OutOfResources("cannot store now, try again later") from trouble
        self._shared.analyse.ring()
        log.get().info(
            "received",
            status=f"{int(answer.status):04X}",
            comment=answer.comment,
            peer=arrived.calling_ae_title,
            transfer_syntax_uid=arrived.transfer_syntax_uid,
            seconds=round(time.monotonic() - began, 4),
        )
        return answer

    def _priority(self, arrived: Arrived) -> int:
        """Return the priority of the object's analysis; 0 is the most urgent.

        A C-STORE request with priority HIGH is urgent, whoever sends it, and so is what an alert makes so. Otherwise
        the priority in the peer's [[peer]] table counts, if it has one, because senders use MEDIUM for everything.
        """
        if urgent_at_reception(self.settings.alert, arrived.calling_ae_title, now().astimezone()):
            return URGENT
        configured = (p.priority for p in self.settings.peer if p.ae_title == arrived.calling_ae_title)
        return URGENT if arrived.priority == URGENT else next(configured, arrived.priority)

    def accepting(self) -> Answer | None:
        """Return a refusal (status A700) while the spool has less than `storage.min_free_bytes` left, or None."""
        return None if self._room() else Answer(Status.OUT_OF_RESOURCES, "no room in the spool, try again later")


def every(seconds: float, ask: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that calls `ask` only when its last answer is older than `seconds`."""
    asked, answer = float("-inf"), False

    def remembered() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked > seconds:
            answer, asked = ask(), time.monotonic()
        return answer

    return remembered
