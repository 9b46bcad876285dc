"""How a request to a peer ended, as a value: the peer's answer, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any

from dicom_io.network.association import Association
from dicom_io.network.errors import error_comment
from dicom_io.network.statuses import Outcome, outcome_of


@dataclass(frozen=True)
class Reply:
    """How a request to a peer ended.

    `status` is the DIMSE status that the peer answered with, or None where it did not answer. `comment` is the peer's
    Error Comment, or our reason.
    """

    outcome: Outcome
    status: int | None
    comment: str


def unreachable(comment: str) -> Reply:
    """A reply that says that the peer did not answer, and why. The request may be tried again."""
    return Reply("UNREACHABLE", None, error_comment(comment))


def as_reply(status: Any) -> Reply | None:
    """Convert a status data set of pynetdicom, which is empty where no response came; that becomes None."""
    if "Status" not in status:
        return None
    return Reply(outcome_of(status.Status), int(status.Status), error_comment(str(status.get("ErrorComment") or "")))


def why(assoc: Association) -> str:
    """Return why an association was not established, or has ended."""
    if assoc.is_rejected:
        return f"association rejected: {assoc.acceptor.primitive.reason_str}"
    failure = assoc.dul.socket.failure
    if failure is not None:
        reason = getattr(failure, "reason", None) or failure.strerror or str(failure)
        return f"connection failed: {reason}"
    if assoc.violated:
        return f"the peer broke the protocol: {assoc.violated}"
    if assoc.aborted_by_peer:
        return "association aborted by the peer"
    accepted = assoc.acceptor.primitive is None or assoc.accepted_contexts
    return "no answer" if accepted else "the peer accepts none of our presentation contexts"
