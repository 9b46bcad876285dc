"""The TLS files that the configuration names: their SSL contexts, their faults, and when they expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from config.settings import Settings
from daemon.decisions import CannotWork
from daemon.runtime import log

if TYPE_CHECKING:
    from ssl import SSLContext

    from dicom_io.network.tls import TlsFiles

Made = TypeVar("Made")
WARN_BEFORE = {"crl": timedelta(days=1)}  # a list is replaced every few days, and looked at once a day
WARN_BEFORE_OTHERS = timedelta(days=30)


def tls_files(settings: Settings) -> TlsFiles:
    """Return the paths of the files in [tls]."""
    from dicom_io.network.tls import TlsFiles

    tls = settings.tls
    return TlsFiles(Path(tls.certificate), Path(tls.key), Path(tls.ca), Path(tls.crl) if tls.crl else None)


def syslog_files(settings: Settings) -> TlsFiles:
    """Return the paths of the files for the syslog server: those in [audit], or else those in [tls]."""
    from dicom_io.network.tls import TlsFiles

    own = settings.audit
    if not own.certificate:
        return tls_files(settings)
    return TlsFiles(Path(own.certificate), Path(own.key), Path(own.ca))


def faults(settings: Settings, now: datetime) -> list[str]:
    """Return a sentence for each reason why the files cannot be used now; none if TLS is off."""
    from dicom_io.network.tls import check_files

    found = [f"tls: {fault}" for fault in check_files(tls_files(settings), now)] if settings.tls.enabled else []
    if settings.audit.certificate:
        found += [f"audit: {fault}" for fault in check_files(syslog_files(settings), now)]
    return found


def expiries(settings: Settings) -> dict[str, datetime]:
    """Return when our certificate, the last of our authorities and the first revocation list expire, by key of [tls].

    What cannot be read, or is not configured, is absent.
    """
    from dicom_io.network.certificate import crl_validity, validity
    from dicom_io.network.errors import TlsFault

    tls, found = settings.tls, {}
    periods: dict[str, Callable[[], tuple[datetime, datetime]]] = {
        "certificate": lambda: validity(Path(tls.certificate)),
        "ca": lambda: validity(Path(tls.ca), authorities=True),
        "crl": lambda: crl_validity(Path(tls.crl)),
    }
    for name, period in periods.items():
        try:
            if getattr(tls, name):
                found[name] = period()[1]
        except (OSError, TlsFault):
            continue
    return found


def expiring_soon(settings: Settings, now: datetime) -> list[str]:
    """A sentence for each file that still works and expires within 30 days; for a revocation list, within a day."""
    return [
        f"tls.{name} expires on {ends:%Y-%m-%d}; replace the file before then"
        + ("" if name == "crl" else ", and reload the configuration")
        for name, ends in expiries(settings).items()
        if now < ends <= now + WARN_BEFORE.get(name, WARN_BEFORE_OTHERS)
    ]


def server_tls(settings: Settings) -> Callable[[], SSLContext] | None:
    """How we let peers in, for each new connection; None: TLS is off. Raises CannotWork where the files are no good."""
    from dicom_io.network.tls import server_context

    return _renewed(settings, server_context) if settings.tls.enabled else None


def client_tls(settings: Settings) -> Callable[[], SSLContext]:
    """How we go out, for each new connection. Raises CannotWork where the files are no good."""
    from dicom_io.network.tls import client_context

    return _renewed(settings, client_context)


def _renewed(settings: Settings, context: Callable[[TlsFiles], SSLContext]) -> Callable[[], SSLContext]:
    from dicom_io.network.tls import Renewed

    def tell(fault: str) -> None:
        log.get().warning("certificate", fault=f"tls: {fault}")

    return _tls("tls", tls_files(settings), lambda files: Renewed(context, files, tell))


def syslog_tls(settings: Settings) -> SSLContext:
    """Return the context for the syslog server, from the files in [audit] or [tls].

    Raises CannotWork if they cannot be used.
    """
    from dicom_io.network.tls import client_context

    return _tls("audit", syslog_files(settings), client_context)


def _tls(section: str, files: TlsFiles, made: Callable[[TlsFiles], Made]) -> Made:
    from dicom_io.network.errors import TlsFault

    try:
        return made(files)
    except TlsFault as fault:
        raise CannotWork(f"{section}: {fault}") from fault
