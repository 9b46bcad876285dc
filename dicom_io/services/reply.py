"""How a request to a peer went, as a value: the peer's answer, or why there is none."""

from dataclasses import dataclass
from typing import Any

from dicom_io.network.association import Association
from dicom_io.network.errors import error_comment
from dicom_io.network.statuses import Outcome, outcome_of


@dataclass(frozen=True)
class Reply:
    """How a request to a peer went. `status` is the peer's, None where it gave none."""

    outcome: Outcome
    status: int | None
    comment: str


def unreachable(comment: str) -> Reply:
    """The peer gave no answer; another try may do better."""
    return Reply("UNREACHABLE", None, error_comment(comment))


def as_reply(status: Any) -> Reply | None:
    """A response's status as the library gives it: empty where none came."""
    if "Status" not in status:
        return None
    return Reply(outcome_of(status.Status), int(status.Status), error_comment(str(status.get("ErrorComment") or "")))


def why(assoc: Association) -> str:
    """Why an association is not, or no more, of use."""
    if assoc.is_rejected:
        return f"association rejected: {assoc.acceptor.primitive.reason_str}"
    failure = assoc.dul.socket.failure
    if failure is not None:
        reason = getattr(failure, "reason", None) or failure.strerror or str(failure)
        return f"connection failed: {reason}"
    if assoc.violated:
        return f"the peer broke the protocol: {assoc.violated}"
    return "no answer" if not assoc.acse.is_aborted() else "association aborted by the peer"
