"""`hilum check`: finds what is wrong before the first study arrives, with one line for each check."""

import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from shlex import quote

from config.sections import DestinationSettings
from config.settings import Settings
from daemon import wiring
from daemon.alerting.notifiers import open_notifier
from daemon.decisions import CannotWork
from daemon.runtime import certificates
from daemon.runtime.clock import now
from daemon.syslog import shipper
from daemon.syslog.transport import SyslogUnreachable
from dicom_io.image.compression.codecs import readable_transfer_syntaxes
from storage.database import database_files
from storage.errors import DatabaseError, StorageError
from storage.private import open_to_others, with_contents


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (subject, fault) for each check; fault is "" if it passed, otherwise a sentence."""
    yield "peers", _peers(settings)
    yield "destinations", "" if settings.destination else "none configured; results would stay in the database"
    if settings.tls.enabled or settings.audit.certificate:
        found = certificates.faults(settings, now()) + certificates.expiring_soon(settings, now())
        yield "certificates", "; ".join(found)
    yield "spool", _spool(settings)
    yield "database", _fault_of(lambda: wiring.open_store(settings).journal.counts())
    yield "decoders", _decoders()
    yield "bundle", _fault_of(lambda: wiring.open_models(settings))
    yield "permissions", _permissions(settings)
    if settings.audit.syslog:
        yield "syslog", _fault_of(lambda: shipper.check_reachable(settings))
    yield from _channels(settings)
    yield from _notifiers(settings)


def _fault_of(action: Callable[[], object]) -> str:
    """Call `action`; return the text of the exception that it raises, or "" if it raises none."""
    try:
        action()
    except (CannotWork, StorageError, OSError, SyslogUnreachable) as fault:
        return str(fault)
    return ""


def _peers(settings: Settings) -> str:
    if settings.peer or settings.dicom.accept_any_peer:
        return ""
    return "nobody may send to hilum; list the senders in [[peer]] tables, or set dicom.accept_any_peer = true"


def _spool(settings: Settings) -> str:
    fault = _fault_of(lambda: wiring.open_spool(settings))
    if fault:
        return fault
    free = shutil.disk_usage(settings.storage.directory).free
    if free < settings.storage.min_free_bytes:
        return f"{free:,} bytes are free, but storage.min_free_bytes requires {settings.storage.min_free_bytes:,}"
    return ""


def _permissions(settings: Settings) -> str:
    """Name what other users may open of what hilum stores, and the command that closes it to them."""
    directory, database = settings.storage.directory, _database_files(settings)
    inside = (with_contents(place) for place in (directory / "spool", wiring.cache_directory(settings)))
    found = open_to_others([directory, *chain.from_iterable(inside), *database])
    if not found:
        return ""
    more = f" and {len(found) - 1} more are" if len(found) > 1 else " is"
    elsewhere = [file for file in found if directory not in (file, *file.parents)]
    places = elsewhere if len(elsewhere) == len(found) else [directory, *elsewhere]
    return f"{found[0]}{more} open to other users; run chmod -R go= {' '.join(quote(str(p)) for p in places)}"


def _database_files(settings: Settings) -> list[Path]:
    try:
        return database_files(settings.storage.database_url(), settings.storage.directory)
    except (DatabaseError, OSError):
        return []  # the check of the database says what is wrong


def _decoders() -> str:
    return "" if len(readable_transfer_syntaxes()) > 4 else "no decoder for compressed images is installed"


def _results(destination: DestinationSettings) -> str:
    """Say what a destination gets: what its preset and its own keys came to."""
    report = f", sr as {destination.sr_class}, {destination.sr_title}" if "sr" in destination.outputs else ""
    return f"results for {destination.name}: {', '.join(destination.outputs)}{report} (preset {destination.preset})"


def _channels(settings: Settings) -> Iterator[tuple[str, str]]:
    """Test the connection to each destination, as its type does that."""
    for destination in settings.destination:
        yield _results(destination), ""
        try:
            channel = wiring.open_channel(settings, destination)
        except CannotWork as fault:
            yield f"destination {destination.name}", str(fault)
            continue
        yield f"{channel.test_name} to {destination.name}", channel.test()
        channel.close()


def _notifiers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Test the connection of each notifier; nothing is sent. hilum alerts test does that."""
    for notifier in settings.notifier:
        try:
            opened = open_notifier(notifier)
        except CannotWork as fault:
            yield f"notifier {notifier.name}", str(fault).removeprefix(f"notifier {notifier.name}: ")
            continue
        yield f"{opened.test_name} of notifier {notifier.name}", opened.test()
