"""The values that this package takes and returns: frozen, without behaviour, UIDs as strings, objects as bytes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.analyses import EarlierObject, InstanceOutcome, ModelOutcome, ResultObject, UsedModel
from storage.notices import Raised


class State(StrEnum):
    """The state of a study: RECEIVED -> ANALYSED -> DELIVERED -> COMMITTED; or IGNORED, or QUARANTINED."""

    RECEIVED = "RECEIVED"
    ANALYSED = "ANALYSED"
    DELIVERED = "DELIVERED"
    COMMITTED = "COMMITTED"
    IGNORED = "IGNORED"
    QUARANTINED = "QUARANTINED"


class Arrival(StrEnum):
    """Whether a received object is new to the journal."""

    NEW = "NEW"
    DUPLICATE = "DUPLICATE"
    """The journal already has the same bytes under this SOP Instance UID."""
    CONFLICT = "CONFLICT"
    """The journal has another image under this SOP Instance UID. The one that came first is the one that is used."""
    CORRECTED = "CORRECTED"
    """The same image under another patient or study: the newer header is used from now on, both objects are kept."""
    UNCOMPARED = "UNCOMPARED"
    """The journal has other bytes under this SOP Instance UID. Nothing was written: compare the two and ask again."""


class Likeness(StrEnum):
    """How a received object compares with the one that is in use under its SOP Instance UID."""

    SAME = "SAME"
    """Patient, study, series and pixels are the same; other elements or the compression differ."""
    CORRECTED = "CORRECTED"
    """The pixels are the same, and the header names another patient, study or series."""
    OTHER = "OTHER"
    """The pixels differ."""


@dataclass(frozen=True)
class Compared:
    """The result of comparing a received object with the one whose SHA-256 this is."""

    sha256: str
    likeness: Likeness


class Sending(StrEnum):
    """How one attempt to deliver ended. After FAILED and UNREACHABLE another attempt follows."""

    ACCEPTED = "ACCEPTED"
    WARNING = "WARNING"
    FAILED = "FAILED"
    """The destination answered this object with a failure that another attempt may change."""
    REFUSED = "REFUSED"
    UNREACHABLE = "UNREACHABLE"
    """The destination gave no answer at all."""


@dataclass(frozen=True)
class Spooled:
    """An object that was written durably to the spool."""

    name: str
    """Path relative to the spool's directory. Random; no part of it comes from the sender."""
    size: int
    """In bytes."""
    sha256: str
    """Of the file's content, in hexadecimal."""


@dataclass(frozen=True)
class ReceivedObject:
    """A received object and what the journal records about it.

    Strings may be empty, except `study_instance_uid` and `sop_instance_uid`.
    """

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
    """0 urgent, 1 normal, 2 low. Studies with a smaller number are analysed and delivered first."""


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
    calling_ae_title: str = ""


@dataclass(frozen=True)
class Study:
    """A study that a worker has claimed for analysis."""

    id: int
    study_instance_uid: str
    revision: int
    """Starts at 1 and grows when images arrive after the study was first claimed, and when it is analysed again."""
    attempts: int
    """How often its analysis was begun, this time included."""
    received_at: datetime
    instances: tuple[Instance, ...]
    earlier: tuple[EarlierObject, ...] = ()
    """The result objects made so far, newest last."""
    priority: int = 1
    corrected: bool = False
    """Whether another header took the place of one that those objects were made of."""
    given_up: bool = False  # it was quarantined when it was taken: its analysis died too often


@dataclass(frozen=True)
class Trial:
    """An analysis by a model on trial that a worker has claimed."""

    id: int
    model: str
    """The name of the model's table in the configuration."""
    study: Study
    attempts: int
    """How often it was begun, this time included."""


@dataclass(frozen=True)
class AnalysisOutcome:
    """What the analysis of a study concluded."""

    instances: tuple[InstanceOutcome, ...]
    """What the models together make of each image; without results, which are each model's."""
    models: tuple[ModelOutcome, ...] = ()
    """What each model said."""
    state: str = State.ANALYSED
    """The study's next state: ANALYSED or IGNORED."""
    reason: str = ""
    raised: Raised | None = None
    trials: tuple[UsedModel, ...] = ()
    """The models on trial that are to see the study too, later."""

    @property
    def objects(self) -> tuple[ResultObject, ...]:
        """The result objects of all models."""
        return tuple(made for one in self.models for made in one.objects)


@dataclass(frozen=True)
class Delivery:
    """One result object that is to be sent to one destination."""

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
    failures: int = 0
    """How many of the attempts the destination answered with FAILED."""
    first_failed_at: datetime | None = None
    """When it did so first."""


@dataclass(frozen=True)
class Sent:
    """The result of one attempt to deliver."""

    outcome: str
    """A value of `Sending`."""
    status: int | None = None
    """The DIMSE status (PS3.7 Annex C), or None if the destination did not answer."""
    comment: str = ""


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver and its result, as `Journal.sent` records it."""

    delivery_id: int
    sent: Sent
    next_attempt_at: datetime | None = None
    """When the next attempt is due; required after FAILED and UNREACHABLE, and not used after any other outcome."""


@dataclass(frozen=True)
class Uncommitted:
    """A delivered object whose destination has not yet taken responsibility for it (storage commitment, SCU role)."""

    delivery_id: int
    study_instance_uid: str
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    transaction_uid: str
    """Transaction UID of the latest request; empty before the first."""
    requests: int
    """How many requests were made so far."""
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
    """A received object that is still in the spool."""

    spool_name: str
    sha256: str
