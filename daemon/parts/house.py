"""The housekeeping part: purging the spool, sending the audit trail to syslog, warning of certificates, and HTTP."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler
from uvicorn import Server

from config.settings import Settings
from daemon import wiring
from daemon.runtime import certificates, log
from daemon.runtime.addresses import listen
from daemon.runtime.clock import ClockWatch, now
from daemon.runtime.schedule import scheduler, start_again
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm, on_stop
from daemon.runtime.vitals import Vital
from daemon.syslog.shipper import Shipper
from daemon.web.api import application
from daemon.web.server import http_server
from storage.journal import Journal
from storage.spool import Spool

PURGE_EVERY_MINUTES = 10
SHIP_EVERY_SECONDS = 1
TURN_SECONDS = 1.0


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Do the scheduled jobs and serve HTTP until SIGTERM."""
    store, spool = wiring.open_store(settings), wiring.open_spool(settings)
    schedule = scheduler()
    schedule.add_job(purge, "interval", [settings, store.journal, spool], minutes=PURGE_EVERY_MINUTES, id="purge")
    schedule.add_job(warn_of_certificates, "interval", [settings], days=1, next_run_time=now(), id="certificates")
    shipper = Shipper(settings, store.outbox) if settings.audit.syslog else None
    if shipper:
        schedule.add_job(shipper.ship, "interval", seconds=SHIP_EVERY_SECONDS, id="audit trail")
    schedule.start()
    turn = partial(_turn, schedule, ClockWatch(now(), time.monotonic()), shared.vitals[name])
    if settings.http.enabled:
        app = application(settings, store, spool, shared.vitals)
        _serve_http(settings, http_server(settings.http, app, turn), turn)
    else:
        stop = on_sigterm()
        while not stop.wait(TURN_SECONDS):
            turn()
    schedule.shutdown()
    if shipper:
        shipper.finish()


def _turn(schedule: BackgroundScheduler, watch: ClockWatch, vital: Vital) -> None:
    """Give a sign of life, and see to it that the jobs run on time although the clock was set."""
    vital.beat()
    if watch.step(now(), time.monotonic()):
        start_again(schedule)


def _serve_http(settings: Settings, server: Server, turn: Callable[[], None]) -> None:
    """Serve HTTP until SIGTERM. Raises CannotWork if the address cannot be used."""
    listener = listen(settings.http.host, settings.http.port)
    on_stop(server.handle_exit)  # uvicorn raises the signal again when it ends; this keeps us alive
    log.get().info("http", host=settings.http.host, port=listener.getsockname()[1])
    turn()
    server.run(sockets=[listener])


def warn_of_certificates(settings: Settings) -> None:
    """Log a warning for each fault of the TLS files, and for each file that expires soon."""
    for fault in certificates.faults(settings, now()) + certificates.expiring_soon(settings, now()):
        log.get().warning("certificate", fault=fault)


def purge(settings: Settings, journal: Journal, spool: Spool) -> int:
    """Remove from the spool the objects of studies that ended more than `storage.keep_days` ago; return how many.

    Their rows in the database stay. With `storage.keep_days` = 0 nothing is removed.
    """
    if not settings.storage.keep_days:
        return 0
    names = journal.expired(now() - timedelta(days=settings.storage.keep_days), now())
    for name in names:
        spool.remove(name)
    if names:
        log.get().info("purged", objects=len(names))
    return len(names)
