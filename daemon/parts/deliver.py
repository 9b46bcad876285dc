"""The delivering part: one courier for each destination, each in its own thread, so that none delays another."""

import threading
from functools import partial

from config.sections import DestinationSettings
from config.settings import Settings
from daemon import wiring
from daemon.channel import Hooks
from daemon.delivery import commitment
from daemon.delivery.courier import POLL_SECONDS, Courier
from daemon.runtime.clock import now
from daemon.runtime.events import Events
from daemon.runtime.schedule import scheduler
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm
from storage.journal import Journal

GIVE_UP_EVERY_SECONDS = 5.0


def run(settings: Settings, shared: Shared, _name: str) -> None:
    """Deliver until SIGTERM; what is being sent then is finished."""
    stop = on_sigterm()
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings)
    threads = [
        threading.Thread(
            target=_courier(settings, destination, journal, shared, stop).work,
            name=f"deliver-{destination.name}",
        )
        for destination in settings.destination
    ]
    for thread in threads:
        thread.start()
    schedule = scheduler()
    for destination in settings.destination:
        schedule.add_job(_ring_if_due, "interval", [journal, destination.name, shared], seconds=POLL_SECONDS)
    schedule.add_job(commitment.answer, "interval", [settings, journal, spool, wiring.open_peer], seconds=POLL_SECONDS)
    schedule.add_job(commitment.give_up, "interval", [settings, journal], seconds=GIVE_UP_EVERY_SECONDS)
    schedule.start()
    stop.wait()
    shared.ring_deliver()
    schedule.shutdown()
    for thread in threads:
        thread.join()


def _ring_if_due(journal: Journal, destination: str, shared: Shared) -> None:
    """Wake a destination's courier if a delivery is due: the journal says when something is to be sent again."""
    due = journal.next_due(destination)
    if due and due <= now():
        shared.deliver[destination].ring()


def _courier(
    settings: Settings, destination: DestinationSettings, journal: Journal, shared: Shared, stop: threading.Event
) -> Courier:
    hooks = Hooks(Events(journal).security, partial(commitment.reported, journal))
    channel = wiring.open_channel(settings, destination, hooks)
    return Courier(settings.delivery, destination, channel, journal, shared.deliver[destination.name], stop)
