"""The TLS files that the configuration names: their SSL contexts, their faults, and when they expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import Settings
from daemon.decisions import CannotWork

if TYPE_CHECKING:
    from ssl import SSLContext

    from dicom_io.network.tls import TlsFiles

WARN_BEFORE = timedelta(days=30)


def tls_files(settings: Settings) -> TlsFiles:
    """Return the paths of the files in [tls]."""
    from dicom_io.network.tls import TlsFiles

    return TlsFiles(Path(settings.tls.certificate), Path(settings.tls.key), Path(settings.tls.ca))


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
    """Return when our certificate, and the last of the authorities, expire: by the key of [tls].

    A file that cannot be read is left out: `faults` names it.
    """
    from dicom_io.network.errors import TlsFault
    from dicom_io.network.tls import validity

    found = {}
    for name in ("certificate", "ca") if settings.tls.enabled else ():
        try:
            found[name] = validity(Path(getattr(settings.tls, name)), authorities=name == "ca")[1]
        except (OSError, TlsFault):
            continue
    return found


def expiring_soon(settings: Settings, now: datetime) -> list[str]:
    """Return a sentence for each file that is valid now and expires within 30 days."""
    return [
        f"tls.{name} expires on {ends:%Y-%m-%d}; replace the file before then, and reload the configuration"
        for name, ends in expiries(settings).items()
        if now < ends <= now + WARN_BEFORE
    ]


def server_tls(settings: Settings) -> SSLContext | None:
    """Return the context for connections that peers open to us; None if TLS is off.

    Raises CannotWork if the files cannot be used.
    """
    from dicom_io.network.tls import server_context

    return _tls("tls", tls_files(settings), server_context) if settings.tls.enabled else None


def client_tls(settings: Settings) -> SSLContext:
    """Return the context for connections that we open. Raises CannotWork if the files cannot be used."""
    from dicom_io.network.tls import client_context

    return _tls("tls", tls_files(settings), client_context)


def syslog_tls(settings: Settings) -> SSLContext:
    """Return the context for the syslog server, from the files in [audit] or [tls].

    Raises CannotWork if they cannot be used.
    """
    from dicom_io.network.tls import client_context

    return _tls("audit", syslog_files(settings), client_context)


def _tls(section: str, files: TlsFiles, context: Callable[[TlsFiles], SSLContext]) -> SSLContext:
    from dicom_io.network.errors import TlsFault

    try:
        return context(files)
    except TlsFault as fault:
        raise CannotWork(f"{section}: {fault}") from fault
