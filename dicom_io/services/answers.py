"""The one place where what a callback returns or raises becomes status and Error Comment (PS3.7 C.4.2)."""

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_io.network.errors import RequestFailure, as_failure, error_comment
from dicom_io.network.statuses import Status

OnEvent = Callable[[str, dict[str, str]], None]


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: Status
    comment: str = ""


def answered(call: Callable[[], Answer], on_event: OnEvent) -> Dataset:
    """Status and Error Comment of what `call` returns or raises; never raises itself.

    An exception that is no `RequestFailure` is an event too, by the name of its class: its text may hold patient data.
    """
    try:
        answer = call()
    except Exception as error:
        refusal = as_failure(error)
        answer = Answer(refusal.status, refusal.comment)
        if not isinstance(error, RequestFailure):
            on_event("request-failed", {"error": type(error).__name__, "status": f"{refusal.status:04X}"})
    response = Dataset()
    response.Status = int(answer.status)
    if answer.comment:
        response.ErrorComment = error_comment(answer.comment)
    return response
