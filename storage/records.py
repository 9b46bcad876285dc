"""The values that cross the border of this package: frozen, without behaviour, UIDs as strings, objects as bytes."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a study stands: RECEIVED -> ANALYSED -> DELIVERED -> COMMITTED, with two side exits."""

    RECEIVED = "RECEIVED"
    ANALYSED = "ANALYSED"
    DELIVERED = "DELIVERED"
    COMMITTED = "COMMITTED"
    IGNORED = "IGNORED"
    QUARANTINED = "QUARANTINED"


class Arrival(StrEnum):
    """What the journal made of a received object."""

    NEW = "NEW"
    DUPLICATE = "DUPLICATE"
    """The same bytes under the same SOP Instance UID were here before."""
    CONFLICT = "CONFLICT"
    """Other bytes under the same SOP Instance UID were here before; the first ones count."""


class Sending(StrEnum):
    """How one attempt to deliver ended. UNREACHABLE is the only one after which another attempt follows."""

    ACCEPTED = "ACCEPTED"
    WARNING = "WARNING"
    REFUSED = "REFUSED"
    UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True)
class Spooled:
    """A durably written object."""

    name: str
    """Relative path in the spool; random, never taken from outside."""
    size: int
    sha256: str


@dataclass(frozen=True)
class ReceivedObject:
    """A received object with what the journal notes of it. Strings may be empty, UIDs of study and object may not."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    patient_id: str
    accession_number: str
    study_date: str
    modality: str
    calling_ae_title: str
    peer_address: str
    spooled: Spooled
    priority: int = 1
    """The smaller, the sooner: 0 urgent, 1 normal, 2 low."""


@dataclass(frozen=True)
class Instance:
    """One image of a study that is to be analysed."""

    id: int
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    spool_name: str
    sha256: str


@dataclass(frozen=True)
class EarlierObject:
    """A result object made earlier, and which destinations it was made for."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    destinations: frozenset[str]


@dataclass(frozen=True)
class Study:
    """A study that a worker took up."""

    id: int
    study_instance_uid: str
    revision: int
    """Grows with every change of the set of images after it was taken up first."""
    attempts: int
    """This try included."""
    received_at: datetime
    instances: tuple[Instance, ...]
    earlier: tuple[EarlierObject, ...] = ()
    """The result objects made so far, newest last."""
    priority: int = 1


@dataclass(frozen=True)
class InstanceOutcome:
    """What became of one image."""

    instance_id: int
    verdict: str
    """"analysed", "ignored" or "refused"."""
    reason: str = ""
    result: dict[str, Any] | None = None
    """The JSON object that `hilum predict --json` prints for an image."""


@dataclass(frozen=True)
class ResultObject:
    """An encoded result and where it goes."""

    kind: str
    """Its name among the kinds of result objects: "sr", "sc"."""
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    """The data set without file meta information, as it is sent and sent again."""
    destinations: tuple[str, ...]
    committing: tuple[str, ...] = ()
    """Those of the destinations that will be asked for storage commitment."""


@dataclass(frozen=True)
class AnalysisOutcome:
    """What the analysis of a study led to."""

    instances: tuple[InstanceOutcome, ...]
    objects: tuple[ResultObject, ...] = ()
    state: str = State.ANALYSED
    """ANALYSED or IGNORED."""
    reason: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Summary over the images: objects with finding, probability, threshold and call."""
    model_digest: str = ""


@dataclass(frozen=True)
class Delivery:
    """One result object on its way to one destination."""

    id: int
    study_id: int
    study_instance_uid: str
    destination: str
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    attempts: int
    """Attempts made before this one."""
    created_at: datetime


@dataclass(frozen=True)
class Sent:
    """How one attempt to deliver ended."""

    outcome: str
    """A value of `Sending`."""
    status: int | None = None
    """The DIMSE status, where one came."""
    comment: str = ""


@dataclass(frozen=True)
class Attempt:
    """An attempt to deliver, as `Journal.sent` writes it down."""

    delivery_id: int
    sent: Sent
    next_attempt_at: datetime | None = None
    """When the next attempt is due; needed after UNREACHABLE, and None after every other outcome."""


@dataclass(frozen=True)
class Uncommitted:
    """A delivered object whose destination has not yet taken responsibility for it (storage commitment, SCU role)."""

    delivery_id: int
    study_instance_uid: str
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    transaction_uid: str
    """Of the latest request; empty before the first."""
    requests: int
    """Requests made so far."""
    requested_at: datetime | None


@dataclass(frozen=True)
class PendingCommitRequest:
    """A modality's request that we take responsibility for its objects (storage commitment, SCP role)."""

    transaction_uid: str
    calling_ae_title: str
    peer_address: str
    references: tuple[tuple[str, str], ...]
    """SOP Class UID and SOP Instance UID of each object."""
    id: int = 0
    attempts: int = 0
    """Attempts to answer made before this one."""


@dataclass(frozen=True)
class Held:
    """An object that we hold."""

    spool_name: str
    sha256: str


@dataclass(frozen=True)
class TrailFault:
    """A place where the audit trail is not what was written."""

    id: int
    kind: str
    """"changed", "removed" or "inserted"."""
    detail: str
