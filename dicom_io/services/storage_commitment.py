"""Storage commitment, push model (PS3.4 Annex J): what the two messages say, as values.

SCU: `Sender.request_commitment` asks; the report comes back on that association or on one that the peer opens to our
SCP. SCP: our SCP takes the request, the daemon answers later with `Sender.report_commitment`. Nothing is remembered
here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicom_io.network.errors import InvalidRequest, NoSuchActionType, NoSuchEventType
from dicom_io.network.statuses import Status
from dicom_io.services.answers import Answer, OnEvent, answered

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5
REQUEST_ACTION = 1  # PS3.4 J.3.2.1.2
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # event types of PS3.4 J.3.3.1.1


@dataclass(frozen=True)
class Reference:
    """One object, by class and instance."""

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
    """What became of a request: the objects committed, and those that were not with the Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]


def on_n_action(
    event: evt.Event, on_request: Callable[[CommitRequest], None], on_event: OnEvent
) -> tuple[Dataset, None]:
    """Handler of N-ACTION: Success once `on_request` returned."""

    def answer() -> Answer:
        if event.action_type != REQUEST_ACTION:
            raise NoSuchActionType(f"action type {event.action_type} is not known")
        requestor = event.assoc.requestor
        on_request(read_request(event.action_information, requestor.ae_title, requestor.address_info.address))
        return Answer(Status.SUCCESS)

    return answered(answer, on_event), None


def on_n_event_report(
    event: evt.Event, on_report: Callable[[CommitReport], None], on_event: OnEvent
) -> tuple[Dataset, None]:
    """Handler of N-EVENT-REPORT: Success once `on_report` returned."""

    def answer() -> Answer:
        on_report(read_report(event.event_type, event.event_information))
        return Answer(Status.SUCCESS)

    return answered(answer, on_event), None


def read_request(information: Dataset, calling_ae_title: str, peer_address: str) -> CommitRequest:
    """The Action Information of PS3.4 Table J.3-1. Raises InvalidRequest where it is unusable."""
    references = tuple(reference for reference, _ in _references(information, "ReferencedSOPSequence"))
    if not references:
        raise InvalidRequest("Referenced SOP Sequence is missing or empty")
    return CommitRequest(_transaction(information), references, calling_ae_title, peer_address)


def read_report(event_type: int, information: Dataset) -> CommitReport:
    """The Event Information of PS3.4 Table J.3-2. Raises NoSuchEventType or InvalidRequest where it is unusable."""
    if event_type not in (ALL_COMMITTED, FAILURES_EXIST):
        raise NoSuchEventType(f"event type {event_type} is not known")
    return CommitReport(
        _transaction(information),
        tuple(reference for reference, _ in _references(information, "ReferencedSOPSequence")),
        tuple(_references(information, "FailedSOPSequence")),
    )


def action_information(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    """The Action Information that asks for `references`."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_item(reference) for reference in references]
    return information


def event_information(report: CommitReport) -> Dataset:
    """The Event Information that says `report`; empty sequences are left out (PS3.4 Table J.3-2: 1C)."""
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
    uid = str(information.get("TransactionUID") or "")
    if not uid or len(uid) > 64:
        raise InvalidRequest("Transaction UID is missing or malformed")
    return uid


def _references(information: Dataset, keyword: str) -> list[tuple[Reference, int]]:
    """The items of a sequence, with Failure Reason where they have one. An item without its UIDs spoils the message."""
    found = []
    for item in information.get(keyword) or []:
        reference = Reference(
            str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
        )
        if not reference.sop_class_uid or not reference.sop_instance_uid:
            raise InvalidRequest(f"an item of {keyword} lacks its UIDs")
        found.append((reference, int(item.get("FailureReason") or Status.PROCESSING_FAILURE)))
    return found
