"""The notifying part: a thread for each notifier. It runs only where a [[notifier]] is configured.

It is a process of its own, so that nothing that a receiver or a library for it does can hold back a delivery.
"""

import signal
import threading
import time

from config.settings import Settings
from daemon import wiring
from daemon.alerting.messenger import POLL_SECONDS, Messenger
from daemon.runtime import log
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import next_signal
from daemon.runtime.vitals import DATABASE_SECONDS


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Notify until SIGTERM; an attempt under way is finished. Raises CannotWork if a notifier cannot be used."""
    stop = threading.Event()
    journal = wiring.open_store(settings, shared.fault).journal
    threads = [
        Messenger(notifier, settings.delivery, settings.dicom.ae_title, journal, stop) for notifier in settings.notifier
    ]
    for thread in threads:
        thread.start()
    log.get().info("ready to notify", notifiers=[notifier.name for notifier in settings.notifier])
    while next_signal(POLL_SECONDS) in (0, signal.SIGHUP):
        if not all(thread.is_alive() for thread in threads):
            raise RuntimeError("a notifier's thread has ended; expected that it works until the part ends")
        due = min(thread.vital.due for thread in threads)
        shared.vitals[name].promise(min(due, time.monotonic() + DATABASE_SECONDS))
    stop.set()
    for thread in threads:
        thread.join()
