"""The trial of a new configuration, in a process of its own, while the daemon goes on with the old one.

Whatever a part would need is opened here first: the model answers its golden input, files are read, addresses are
listened on for a moment. The outcome is one line in the log and one row in the audit trail.
"""

import os
from typing import Any

from config.settings import ConfigurationError, Settings
from daemon import wiring
from daemon.alerting.notifiers import open_notifier
from daemon.decisions import CannotWork, place
from daemon.parts.changes import Configuration, changed_keys, sections_of
from daemon.runtime import certificates, log
from daemon.runtime.addresses import listen
from daemon.runtime.clock import now
from daemon.runtime.events import Events
from daemon.runtime.stopping import end_on_stop
from storage.errors import DatabaseUnavailable


def run(old: Configuration, new: Configuration, actor: str) -> int:
    """Try the new configuration and return the exit status: EX_OK if every part can work with it, else EX_CONFIG."""
    end_on_stop()
    keys = changed_keys(old, new)
    try:
        prove(old.settings, new.settings, sections_of(keys))
    except (CannotWork, DatabaseUnavailable) as fault:
        return _refuse(old.settings, str(fault), keys, actor)
    except Exception as error:  # what it says may hold a secret of the configuration
        return _refuse(old.settings, f"unexpected {type(error).__name__} in {place(error)}", keys, actor)
    record(old.settings, "RELOADED", actor, {"keys": keys})
    return os.EX_OK


def refuse(settings: Settings, refused: ConfigurationError, actor: str) -> int:
    """Log and record that a configuration cannot be read; return EX_CONFIG. `settings` are those that stay in force."""
    end_on_stop()
    return _refuse(settings, str(refused), list(refused.keys), actor)


def _refuse(settings: Settings, fault: str, keys: list[str], actor: str) -> int:
    log.get().error("configuration refused, the old one stays", fault=fault, keys=keys)
    record(settings, "RELOAD_REFUSED", actor, {"keys": keys})
    return os.EX_CONFIG


def record(settings: Settings, event: str, actor: str, detail: dict[str, Any]) -> None:
    """Add a row to the audit trail; if the database cannot be used, only the log says so."""
    try:
        Events(wiring.open_store(settings).journal).note(event, detail, actor)
    except (CannotWork, DatabaseUnavailable):
        log.get().error("security event not journaled", kind=event)


def prove(old: Settings, new: Settings, changed: set[str]) -> None:
    """Raise CannotWork, or DatabaseUnavailable, if a part could not work with the new settings.

    `changed` names the sections that differ; what has to do with no other section is known to work.
    """
    faults = certificates.faults(new, now())
    if faults:
        raise CannotWork("\n".join(faults))
    certificates.server_tls(new)
    if new.audit.syslog and new.audit.transport == "tls":
        certificates.syslog_tls(new)
    if "peer" in changed:
        wiring.listed_peers(new)
    if changed & {"destination", "delivery", "dicom", "tls"}:
        for destination in new.destination:
            wiring.open_channel(new, destination)
    if "notifier" in changed:
        for notifier in new.notifier:
            open_notifier(notifier)
    if "storage" in changed:
        wiring.open_spool(new)
        wiring.open_store(new).close()
    _prove_addresses(old, new)
    if changed & {"model", "analysis", "alert"}:
        _prove_model(new)


def _prove_model(new: Settings) -> None:
    """Load the model, as an analysing part does; imported here, because this takes long."""
    from daemon.runtime.limits import limit_memory

    wiring.open_models(new)
    limit_memory(new.analysis.memory_limit_bytes)


def _prove_addresses(old: Settings, new: Settings) -> None:
    """Listen on each new address for a moment.

    Where only the host differs, we hold the port ourselves: then any port shows that the host can be used.
    """
    http = (old.http.host, old.http.port) if old.http.enabled else None
    wanted: list[tuple[tuple[str, int] | None, tuple[str, int]]] = [
        ((old.dicom.host, old.dicom.port), (new.dicom.host, new.dicom.port))
    ]
    wanted += [(http, (new.http.host, new.http.port))] if new.http.enabled else []
    for before, (host, port) in wanted:
        if before != (host, port):
            listen(host, 0 if before and before[1] == port else port).close()
