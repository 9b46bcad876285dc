"""The receiving part: listens, and answers each object after it is durable."""

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
from daemon.decisions import CannotWork
from daemon.delivery import commitment
from daemon.runtime import certificates, log
from daemon.runtime.clock import now
from daemon.runtime.events import Events
from daemon.runtime.person import login
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import next_signal
from dicom_io.image.no_picture import NoPicture, NotDicom
from dicom_io.network.errors import CannotUnderstand, OutOfResources
from dicom_io.network.statuses import Status
from dicom_io.services.store_scp import Answer, Arrived, Callbacks, StoreScp
from storage.errors import DatabaseUnavailable, SpoolUnavailable
from storage.journal import Journal
from storage.spool import Spool

URGENT = 0
# how long one association's thread computes before another may: with the interpreter's own 5 ms, a flood of large
# association requests delays everybody else several times as long
SWITCH_SECONDS = 0.0002
LOOK_SECONDS = 1.0  # how old the answer to "is there room?" may be


def run(settings: Settings, shared: Shared, _name: str) -> None:
    """Receive until SIGTERM. Raises CannotWork where the address or the spool cannot be had."""
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings, shared.fault)
    swept = spool.sweep(journal.knows)
    reception = Reception(settings, journal, spool, shared)
    scp = wiring.open_scp(settings, reception.callbacks, spool.incoming)
    leave_to_collector()
    sys.setswitchinterval(SWITCH_SECONDS)
    log.get().info("ready", port=scp.port, ae_title=settings.dicom.ae_title, swept=len(swept))
    reception.events.note("STARTED", {"port": scp.port, "pid": os.getpid(), "user": login()})
    while next_signal() == signal.SIGHUP:
        _reload(scp, reception, shared)
    scp.shutdown()
    reception.events.note("STOPPED", {"pid": os.getpid(), "user": login()})


def leave_to_collector() -> None:
    """Take what is loaded by now out of the garbage collector's sight.

    It looks through everything only when a quarter as much is new; beside all the libraries, that is thousands of
    associations, each of which leaves a circle of objects behind.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # now it knows that what it sees is little


def _reload(scp: StoreScp, reception: "Reception", shared: Shared) -> None:
    """Take over what can be without closing the port; open associations go on."""
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
    """What the daemon does with what arrives, in the thread of its association."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, shared: Shared):
        self.settings, self._journal, self._spool, self._shared = settings, journal, spool, shared
        self._room = every(LOOK_SECONDS, lambda: spool.free_bytes() >= settings.storage.min_free_bytes)
        self.events = Events(journal)
        self.callbacks = Callbacks(
            self.store,
            accepting=self.accepting,
            on_commit_request=lambda asked: commitment.remember(journal, self.settings, asked),
            on_commit_report=partial(commitment.reported, journal),
            on_event=self.events.security,
        )

    def store(self, arrived: Arrived) -> Answer:
        """The line's first part; foreign exceptions become refusals here."""
        began = time.monotonic()
        arrived = replace(arrived, priority=self._priority(arrived))
        try:
            self._spool.settle(self._journal.knows)
            answer = pipeline.receive(arrived, self._spool, self._journal, now())
        except NotDicom as refusal:
            raise CannotUnderstand(refusal.reason) from refusal
        except NoPicture as refusal:
            raise CannotUnderstand("the header cannot be read") from refusal
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
        """The peer's, where it is configured; a request of priority HIGH is urgent whoever sends it.

        MEDIUM says nothing: senders use it for everything.
        """
        configured = (p.priority for p in self.settings.peer if p.ae_title == arrived.calling_ae_title)
        return URGENT if arrived.priority == URGENT else next(configured, arrived.priority)

    def accepting(self) -> Answer | None:
        """A700 while the spool has less room than `storage.min_free_bytes`."""
        return None if self._room() else Answer(Status.OUT_OF_RESOURCES, "no room in the spool, try again later")


def every(seconds: float, ask: Callable[[], bool]) -> Callable[[], bool]:
    """`ask`, asked again only when its answer is older than `seconds`."""
    asked, answer = float("-inf"), False

    def remembered() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked > seconds:
            answer, asked = ask(), time.monotonic()
        return answer

    return remembered
