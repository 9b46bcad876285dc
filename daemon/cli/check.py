"""`hilum check`: everything that can be wrong before the first study comes, one line each."""

import shutil
from collections.abc import Callable, Iterator

from config.settings import Settings
from daemon import wiring
from daemon.decisions import CannotWork
from daemon.runtime import certificates
from daemon.runtime.clock import now
from daemon.syslog import shipper
from daemon.syslog.transport import SyslogUnreachable
from dicom_io.image.codecs import readable_transfer_syntaxes
from storage.errors import StorageError


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """What was looked at, and its fault or ""."""
    yield "peers", _peers(settings)
    yield "destinations", "" if settings.destination else "none configured; results would go nowhere"
    if settings.tls.enabled or settings.audit.certificate:
        yield "certificates", "; ".join(certificates.faults(settings, now()) + certificates.soon(settings, now()))
    yield "spool", _spool(settings)
    yield "database", _tried(lambda: wiring.open_store(settings).journal.counts())
    yield "decoders", _decoders()
    yield "bundle", _tried(lambda: wiring.open_classifier(settings).self_check())
    if settings.audit.syslog:
        yield "syslog", _tried(lambda: shipper.reachable(settings))
    yield from _channels(settings)


def _tried(action: Callable[[], object]) -> str:
    try:
        action()
    except (CannotWork, StorageError, OSError, SyslogUnreachable) as fault:
        return str(fault)
    return ""


def _peers(settings: Settings) -> str:
    if settings.peer or settings.dicom.accept_any_peer:
        return ""
    return "nobody may send to us; list the senders as [[peer]], or set dicom.accept_any_peer = true"


def _spool(settings: Settings) -> str:
    fault = _tried(lambda: wiring.open_spool(settings))
    if fault:
        return fault
    free = shutil.disk_usage(settings.storage.directory).free
    if free < settings.storage.min_free_bytes:
        return f"{free:,} bytes free, storage.min_free_bytes wants {settings.storage.min_free_bytes:,}"
    return ""


def _decoders() -> str:
    return "" if len(readable_transfer_syntaxes()) > 4 else "no decoder for compressed images is installed"


def _channels(settings: Settings) -> Iterator[tuple[str, str]]:
    """The test of each destination's connection, by what its type does."""
    for destination in settings.destination:
        try:
            channel = wiring.open_channel(settings, destination)
        except CannotWork as fault:
            yield f"destination {destination.name}", str(fault)
            continue
        yield f"{channel.test_name} to {destination.name}", channel.test()
        channel.close()
