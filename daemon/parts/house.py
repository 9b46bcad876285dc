"""The housekeeping part: purging the spool, sending the audit trail to syslog, warning of certificates, and HTTP."""

from datetime import timedelta

from uvicorn import Server

from config.settings import Settings
from daemon import wiring
from daemon.runtime import certificates, log
from daemon.runtime.clock import now
from daemon.runtime.schedule import scheduler
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm, on_stop
from daemon.syslog.shipper import Shipper
from daemon.web.api import application
from daemon.web.server import http_server
from storage.journal import Journal
from storage.spool import Spool

PURGE_EVERY_MINUTES = 10
SHIP_EVERY_SECONDS = 1


def run(settings: Settings, _shared: Shared, _name: str) -> None:
    """Do the scheduled jobs and serve HTTP until SIGTERM."""
    store, spool = wiring.open_store(settings), wiring.open_spool(settings)
    schedule = scheduler()
    schedule.add_job(purge, "interval", [settings, store.journal, spool], minutes=PURGE_EVERY_MINUTES, id="purge")
    schedule.add_job(warn_of_certificates, "interval", [settings], days=1, next_run_time=now(), id="certificates")
    shipper = Shipper(settings, store.outbox) if settings.audit.syslog else None
    if shipper:
        schedule.add_job(shipper.ship, "interval", seconds=SHIP_EVERY_SECONDS, id="audit trail")
    schedule.start()
    if settings.http.enabled:
        _serve_http(settings, http_server(settings.http, application(settings, store, spool)))
    else:
        on_sigterm().wait()
    schedule.shutdown()
    if shipper:
        shipper.finish()


def _serve_http(settings: Settings, server: Server) -> None:
    """Serve HTTP until SIGTERM."""
    on_stop(server.handle_exit)  # uvicorn raises the signal again when it ends; this keeps us alive
    log.get().info("http", host=settings.http.host, port=settings.http.port)
    server.run()


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
