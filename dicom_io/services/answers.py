"""The one place that turns what a callback returns or raises into a status and an Error Comment (PS3.7 C.4.2)."""

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_io.network.errors import RequestFailure, as_failure, error_comment
from dicom_io.network.statuses import Status

OnEvent = Callable[[str, dict[str, str]], None]


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its status, and the Error Comment or ""."""

    status: Status
    comment: str = ""


def answered(call: Callable[[], Answer], on_event: OnEvent) -> Dataset:
    """Run `call` and return a response's Status and ErrorComment. Raises nothing.

    An exception that is not a `RequestFailure` is also reported to `on_event`, by the name of its class only, because
    its text may hold patient data.
    """
    try:
        answer = call()
    except Exception as error:
        failure = as_failure(error)
        answer = Answer(failure.status, failure.comment)
        if not isinstance(error, RequestFailure):
            on_event("request-failed", {"error": type(error).__name__, "status": f"{failure.status:04X}"})
    response = Dataset()
    response.Status = int(answer.status)
    if answer.comment:
        response.ErrorComment = error_comment(answer.comment)
    return response
