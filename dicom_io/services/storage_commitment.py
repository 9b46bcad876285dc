"""Storage commitment, push model (PS3.4 Annex J): the content of its two messages as values.

As SCU we ask with `Sender.request_commitment`, and the report arrives later, on that association or on one that the
peer opens to our SCP. As SCP we receive the request, and the daemon reports later with `Sender.report_commitment`.
These functions keep no state.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicom_io.network.errors import InvalidRequest, NoSuchActionType, NoSuchEventType, RequestFailure
from dicom_io.network.statuses import Status
from dicom_io.services.answers import Answer, OnEvent, answered

Content = TypeVar("Content")
WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5
REQUEST_ACTION = 1  # PS3.4 J.3.2.1.2
UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1; devices are seen to begin a component with 0
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # event types of PS3.4 J.3.3.1.1


@dataclass(frozen=True)
class Reference:
    """One object, by its SOP Class UID and SOP Instance UID."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class CommitRequest:
    """A peer asks us to commit `references`."""

    transaction_uid: str
    references: tuple[Reference, ...]
    calling_ae_title: str
    peer_address: str


@dataclass(frozen=True)
class CommitReport:
    """The outcome of a request: the objects committed, and the others, each with its Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]


def on_n_action(
    event: evt.Event, on_request: Callable[[CommitRequest], None], on_event: OnEvent
) -> tuple[Dataset, None]:
    """Handle N-ACTION: answer Success once `on_request` has returned, or the failure that it raised."""

    def answer() -> Answer:
        if event.action_type != REQUEST_ACTION:
            raise NoSuchActionType(f"action type {event.action_type} is not known")
        requestor = event.assoc.requestor
        peer = requestor.ae_title, requestor.address_info.address
        on_request(_read(lambda: read_request(event.action_information, *peer)))
        return Answer(Status.SUCCESS)

    return answered(answer, on_event), None


def on_n_event_report(
    event: evt.Event, on_report: Callable[[CommitReport], None], on_event: OnEvent
) -> tuple[Dataset, None]:
    """Handle N-EVENT-REPORT: answer Success once `on_report` has returned, or the failure that it raised."""

    def answer() -> Answer:
        on_report(_read(lambda: read_report(event.event_type, event.event_information)))
        return Answer(Status.SUCCESS)

    return answered(answer, on_event), None


def _read(read: Callable[[], Content]) -> Content:
    """Return what `read` makes of a data set. Raises InvalidRequest, too, where the data set cannot be decoded."""
    try:
        return read()
    except (RequestFailure, MemoryError):
        raise
    except Exception as error:  # decoding a malformed data set may raise anything, and it is the peer's
        raise InvalidRequest(f"the data set cannot be read: {type(error).__name__}") from error


def read_request(information: Dataset, calling_ae_title: str, peer_address: str) -> CommitRequest:
    """Read Action Information (PS3.4 Table J.3-1). Raises InvalidRequest where UIDs or references are missing."""
    references = tuple(reference for reference, _ in _references(information, "ReferencedSOPSequence"))
    if not references:
        raise InvalidRequest("Referenced SOP Sequence is missing or empty")
    return CommitRequest(_transaction(information), references, calling_ae_title, peer_address)


def read_report(event_type: int, information: Dataset) -> CommitReport:
    """Read Event Information (PS3.4 Table J.3-2).

    Raises NoSuchEventType for an event type that the standard does not define, and InvalidRequest where UIDs are
    missing.
    """
    if event_type not in (ALL_COMMITTED, FAILURES_EXIST):
        raise NoSuchEventType(f"event type {event_type} is not known")
    return CommitReport(
        _transaction(information),
        tuple(reference for reference, _ in _references(information, "ReferencedSOPSequence")),
        tuple(_references(information, "FailedSOPSequence")),
    )


def action_information(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    """Write the Action Information that asks for `references` (PS3.4 Table J.3-1)."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_item(reference) for reference in references]
    return information


def event_information(report: CommitReport) -> Dataset:
    """Write `report` as Event Information. Empty sequences are left out, being of type 1C (PS3.4 Table J.3-2)."""
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    if report.committed:
        information.ReferencedSOPSequence = [_item(reference) for reference in report.committed]
    if report.failed:
        information.FailedSOPSequence = [_item(reference, reason) for reference, reason in report.failed]
    return information


def _item(reference: Reference, failure_reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if failure_reason is not None:
        item.FailureReason = failure_reason
    return item


def _transaction(information: Dataset) -> str:
    uid = _uid(information, "TransactionUID")
    if not uid:
        raise InvalidRequest("Transaction UID is missing or malformed")
    return uid


def _uid(dataset: Dataset, keyword: str) -> str:
    """Return the one UID that an element holds, or "": what is no UID could not be written into the report."""
    value = dataset.get(keyword)
    return str(value) if isinstance(value, str) and UID.fullmatch(value) else ""


def _references(information: Dataset, keyword: str) -> list[tuple[Reference, int]]:
    """Read the items of a sequence: reference and Failure Reason (0110 where an item has none).

    Raises InvalidRequest where an item lacks a UID, or holds what is none.
    """
    found = []
    for item in information.get(keyword) or []:
        reference = Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))
        if not reference.sop_class_uid or not reference.sop_instance_uid:
            raise InvalidRequest(f"UIDs are missing or malformed in {keyword}")
        found.append((reference, int(item.get("FailureReason") or Status.PROCESSING_FAILURE)))
    return found
