"""The delivering part: one courier for each destination, each in its own thread, so that none delays another."""

import signal
import threading
import time
from collections.abc import Sequence
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler

from config.sections import DestinationSettings
from config.settings import ConfigurationError, Settings
from daemon import wiring
from daemon.channel import Hooks
from daemon.decisions import place
from daemon.delivery import commitment
from daemon.delivery.courier import POLL_SECONDS, Courier
from daemon.delivery.due_times import DueTimes
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.events import Events
from daemon.runtime.schedule import scheduler, start_again
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import next_signal
from daemon.runtime.vitals import DATABASE_SECONDS, Vital
from storage.journal import Journal

GIVE_UP_EVERY_SECONDS = 5.0
ANSWERS = "answers to requests for storage commitment"


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Deliver until SIGTERM; what is being sent then is finished."""
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings)
    stop = threading.Event()
    threads = [CourierThread(settings, destination, journal, shared, stop) for destination in settings.destination]
    for thread in threads:
        thread.start()
    schedule = scheduler()
    for destination in settings.destination:
        schedule.add_job(_ring_if_due, "interval", [journal, destination.name, shared], seconds=POLL_SECONDS)
    answers = [settings, journal, spool, wiring.open_peer]
    schedule.add_job(commitment.answer, "interval", answers, seconds=POLL_SECONDS, id=ANSWERS)
    schedule.add_job(commitment.give_up, "interval", [settings, journal], seconds=GIVE_UP_EVERY_SECONDS)
    schedule.start()
    due_times = DueTimes(settings.delivery, journal, now(), time.monotonic())
    while (heard := next_signal(POLL_SECONDS)) in (0, signal.SIGHUP):
        if heard:
            _take_over_peers(settings, shared, schedule, answers)
        shared.vitals[name].promise(_next_sign(threads))
        if due_times.look(now(), time.monotonic()):
            start_again(schedule)
    stop.set()
    shared.ring_deliver()
    schedule.shutdown()
    for thread in threads:
        thread.join()


def _take_over_peers(
    settings: Settings, shared: Shared, schedule: BackgroundScheduler, answers: Sequence[object]
) -> None:
    """Use the peers of the new configuration. All else that the delivering part reads is the same."""
    try:
        peers = shared.reload().peer
    except ConfigurationError as refused:
        log.get().error("configuration refused, the old one stays", fault=str(refused))
        return
    schedule.modify_job(ANSWERS, args=[settings.model_copy(update={"peer": peers}), *answers[1:]])
    log.get().info("configuration reloaded")


def _next_sign(threads: Sequence["CourierThread"]) -> float:
    """Return by when the next sign of life is due: when the first of the couriers and this thread has to give one.

    Raises RuntimeError if a courier has ended, which nobody asked it to.
    """
    if not all(thread.is_alive() for thread in threads):
        raise RuntimeError("a courier has ended; expected that it works until the part ends")
    return min([time.monotonic() + DATABASE_SECONDS, *(thread.vital.due for thread in threads)])


def _ring_if_due(journal: Journal, destination: str, shared: Shared) -> None:
    """Wake a destination's courier if a delivery is due: the journal says when something is to be sent again."""
    due = journal.next_due(destination)
    if due and due <= now():
        shared.deliver[destination].ring()


class CourierThread(threading.Thread):
    """The thread of one courier. `vital` is what it promises; an exception ends it, after a line in the log."""

    def __init__(
        self,
        settings: Settings,
        destination: DestinationSettings,
        journal: Journal,
        shared: Shared,
        stop: threading.Event,
    ):
        super().__init__(name=f"deliver-{destination.name}")
        self.vital = Vital()
        self.vital.start()
        hooks = Hooks(Events(journal).security, partial(commitment.reported, journal))
        channel, bell = wiring.open_channel(settings, destination, hooks), shared.deliver[destination.name]
        self._courier = Courier(settings.delivery, destination, channel, journal, bell, stop, self.vital)

    def run(self) -> None:
        try:
            self._courier.work()
        except Exception as error:  # whatever it was, the part ends and is started again
            log.get().error("unhandled exception", error=type(error).__name__, place=place(error))
