"""Turns rows of the audit trail into DICOM audit messages (PS3.15 A.5), and says which rows have none.

A message is one line of a log that people read on terminals. What came from outside stands there as `visible` shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from config.settings import Settings
from daemon.runtime.visible import visible
from dicom_io.audit.codes import (
    CREATED,
    MAJOR_FAILURE,
    MINOR_FAILURE,
    NODE_ID,
    READ,
    SERIOUS_FAILURE,
    STUDY_INSTANCE_UID,
    SUCCESS,
    URI,
    alert_code,
)
from dicom_io.audit.message import (
    AuditSource,
    Event,
    Participant,
    Subject,
    Transfer,
    application_activity,
    audit_log_used,
    begin_transferring,
    instances_transferred,
    security_alert,
)
from storage.outbox import OutboxEntry, Sendable

MOST_INSTANCES = 20  # in one message, which then stays below the 8 KB that syslog servers accept by default

TRANSFERS = ("RECEIVED", "DUPLICATE", "SENT")
ANALYSES = ("ANALYSED", "IGNORED", "ANALYSED_BEFORE")
OTHERS = ("STARTED", "STOPPED", "AUDIT_READ", "SECURITY", "QUARANTINED", "RELOADED", "RELOAD_REFUSED")
SILENT = (
    "DELIVERED", "COMMITTED", "RELEASED", "DISCARDED", "RETRIED", "REPLAYED", "EXPIRED", "COMMIT_REQUESTED",
    "COMMIT_REPORT", "COMMIT_ASKED", "COMMIT_ANSWERED", "CONFLICT_TAKEN", "CONFLICT_DISCARDED", "CORRECTED",
    "FEEDBACK", "MODEL_PROMOTED", "MODEL_ROLLED_BACK",
    "ALERTED", "NOTIFICATION",
)  # fmt: skip
"""Events without a message: PS3.15 A.5.3 has none for what happens to a study inside one node."""


@dataclass(frozen=True)
class Message:
    """One audit message."""

    at: datetime
    """When the event happened."""
    outcome: int
    """The EventOutcomeIndicator; 0 is success."""
    xml: bytes


class Interpreter:
    """Makes messages from rows, with the names and addresses that the configuration has for us and for the others."""

    def __init__(self, settings: Settings, host: str, audit_log: str):
        title = settings.dicom.ae_title
        self._host = host
        self._we = Participant(title, title, host, "hilum")
        self._source = AuditSource(settings.audit.source_id, settings.audit.enterprise_site_id, audit_log)
        self._destinations = {d.name: Participant(d.title, d.title, d.address) for d in settings.destination}

    def messages(self, entries: Sequence[OutboxEntry]) -> Iterator[Message]:
        """Yield the messages of these rows, in their order. Adjacent rows of one transfer become one message."""
        for (event, *_), group in groupby(map(_shown, entries), key=_together):
            same = list(group)
            if event in TRANSFERS:
                for start in range(0, len(same), MOST_INSTANCES):
                    yield self._transferred(same[start : start + MOST_INSTANCES])
            else:
                yield from (message for entry in same for message in self._single(entry))

    def _single(self, entry: OutboxEntry) -> Iterator[Message]:
        match entry.event:
            case "STARTED" | "STOPPED":
                yield self._activity(entry)
            case "AUDIT_READ":
                reader, event = self._person(entry.actor), _event(entry)
                xml = audit_log_used(event, self._source, reader, str(entry.detail.get("command", "")))
                yield Message(entry.at, SUCCESS, xml)
            case "RELOADED":
                yield self._configured(entry, "configuration-reloaded", SUCCESS)
            case "RELOAD_REFUSED":
                yield self._configured(entry, "configuration-refused", MINOR_FAILURE)
            case "SECURITY":
                yield self._refused(entry)
            case "QUARANTINED" if entry.detail.get("kind"):
                yield self._damaged(entry)
            case event if event in ANALYSES:
                yield from self._begun(entry)

    def _transferred(self, entries: Sequence[OutboxEntry]) -> Message:
        """PS3.15 A.5.3.7, DICOM Instances Transferred: objects were received, or were sent and answered."""
        first, last = entries[0], entries[-1]
        if first.event == "SENT":
            outcome = SERIOUS_FAILURE if first.detail.get("outcome") == "REFUSED" else SUCCESS
            ends, action = (self._we, self._destination(first.actor)), READ  # it may have had them before
            classes = [entry.sop_class_uid for entry in entries]
        else:
            outcome, action = SUCCESS, CREATED if first.event == "RECEIVED" else READ
            ends = (_peer(first.actor, first.detail), self._we)
            classes = [str(entry.detail.get("sop_class_uid", "")) for entry in entries]
        instances = dict.fromkeys(zip(classes, (entry.sop_instance_uid for entry in entries), strict=True))
        transfer = _transfer(first, tuple(instances))
        event = _event(last, outcome)
        return Message(last.at, outcome, instances_transferred(event, self._source, *ends, transfer, action))

    def _begun(self, entry: OutboxEntry) -> Iterator[Message]:
        """PS3.15 A.5.3.3, Begin Transferring: results are about to be sent. One message for each destination."""
        for destination, group in groupby(sorted(entry.begun, key=lambda s: s.destination), lambda s: s.destination):
            transfer = _transfer(entry, tuple((s.sop_class_uid, s.sop_instance_uid) for s in group))
            ends = (self._we, self._destination(destination))
            yield Message(entry.at, SUCCESS, begin_transferring(_event(entry), self._source, *ends, transfer))

    def _activity(self, entry: OutboxEntry) -> Message:
        user = str(entry.detail.get("user", ""))
        launcher = self._person(user) if user else None
        started = entry.event == "STARTED"
        xml = application_activity(_event(entry), self._source, started, self._we, launcher)
        return Message(entry.at, SUCCESS, xml)

    def _refused(self, entry: OutboxEntry) -> Message:
        """An alert: a refused peer, a broken protocol, other bytes under a known UID, or an altered audit trail."""
        detail = entry.detail
        kind = str(detail.get("kind", "uid-conflict"))
        if kind == "audit-trail-altered":
            return self._alert(entry, kind, MAJOR_FAILURE, None, Subject(URI, self._source.audit_log))
        if entry.sop_instance_uid:
            instance = (str(detail.get("sop_class_uid", "")), entry.sop_instance_uid)
            subject = Subject(STUDY_INSTANCE_UID, entry.study_instance_uid, (instance,))
            return self._alert(entry, kind, SERIOUS_FAILURE, _peer(entry.actor, detail), subject)
        peer = _peer(str(detail.get("calling_ae_title", "")), detail)
        return self._alert(entry, kind, MINOR_FAILURE, peer, Subject(NODE_ID, str(detail.get("peer_address", ""))))

    def _damaged(self, entry: OutboxEntry) -> Message:
        """An alert: an object in the spool is missing or is not what was received."""
        subject = Subject(STUDY_INSTANCE_UID, entry.study_instance_uid)
        return self._alert(entry, str(entry.detail["kind"]), MAJOR_FAILURE, None, subject)

    def _configured(self, entry: OutboxEntry, kind: str, outcome: int) -> Message:
        """An alert that only informs: somebody had the configuration read again."""
        return self._alert(entry, kind, outcome, self._person(entry.actor), Subject(NODE_ID, self._host))

    def _alert(
        self, entry: OutboxEntry, kind: str, outcome: int, performer: Participant | None, subject: Subject
    ) -> Message:
        """PS3.15 A.5.3.11, Security Alert."""
        said = {
            key: entry.detail[key] for key in ("error", "status", "reason", "faults", "keys") if entry.detail.get(key)
        }
        held_back = entry.detail.get("held_back") or 0
        more = [f"{key}: {value}" for key, value in said.items()] + [f"{held_back} more of them"] * bool(held_back)
        xml = security_alert(
            _event(entry, outcome), self._source, alert_code(kind), self._we, performer, subject,
            "; ".join([kind, *more]),
        )  # fmt: skip
        return Message(entry.at, outcome, xml)

    def _destination(self, name: str) -> Participant:
        return self._destinations.get(name, Participant(name))

    def _person(self, actor: str) -> Participant:
        """PS3.15 A.5.2.1: a person is named as login name @ host name."""
        login = actor.removeprefix("operator ")
        return Participant(f"{login}@{self._host}", user_name=login)


def _shown(value: Any) -> Any:
    """Return a row, or a value in it, with every text as `visible` shows it."""
    match value:
        case str():
            return visible(value)
        case dict():
            return {key: _shown(inner) for key, inner in value.items()}
        case tuple() | list():
            return type(value)(map(_shown, value))
        case OutboxEntry() | Sendable():
            return replace(value, **{field.name: _shown(getattr(value, field.name)) for field in fields(value)})
        case _:
            return value


def _together(entry: OutboxEntry) -> tuple[Any, ...]:
    """Return a key that rows of one message share. Only rows of transfers are put together."""
    if entry.event not in TRANSFERS:
        return (entry.event, entry.id)
    outcome = entry.detail.get("outcome") == "REFUSED"
    return (entry.event, entry.study_instance_uid, entry.actor, entry.detail.get("peer_address"), outcome)


def _event(entry: OutboxEntry, outcome: int = SUCCESS) -> Event:
    return Event(entry.at, outcome, f"{entry.id}:{entry.digest}")


def _peer(ae_title: str, detail: dict[str, Any]) -> Participant:
    address = str(detail.get("peer_address", ""))
    return Participant(ae_title or address, ae_title, address)


def _transfer(entry: OutboxEntry, instances: tuple[tuple[str, str], ...]) -> Transfer:
    return Transfer(entry.study_instance_uid, entry.patient_id, entry.accession_number, instances)
