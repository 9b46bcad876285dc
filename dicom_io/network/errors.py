"""What can go wrong on the network. A RequestFailure carries the DIMSE status and the Error Comment to answer with.

    DicomError
    ├── RequestFailure             we answer the request with a failure
    │   ├── OutOfResources         A700  disk or queue full, shutting down: the sender may try again
    │   ├── ObjectMismatch         A900  the data set is not the object that the command set announces
    │   ├── CannotUnderstand       C000  the data set cannot be read as a DICOM object
    │   ├── InstanceConflict       C0D1  another object is stored under this SOP Instance UID
    │   ├── ObjectTooLarge         C0D2  the object is larger than we accept
    │   ├── SopClassNotSupported   0122  the command set names another SOP class than its presentation context
    │   ├── NotAuthorized          0124  this peer, or this association, may not ask for that
    │   ├── InvalidRequest         0115  the information of an N-ACTION or N-EVENT-REPORT cannot be used
    │   ├── NoSuchActionType       0123  storage commitment has no such action type
    │   ├── NoSuchEventType        0113  storage commitment has no such event type
    │   └── ProcessingFailure      0110  anything else
    ├── ProtocolError              the peer breaks PS3.8 or PS3.7: the association is aborted
    └── TlsFault                   a certificate, key or CA file cannot be used

Their texts must not contain patient data, because they go to the peer and into the log.
"""

from dicom_io.network.statuses import Status
from dicom_io.printable import printable

ERROR_COMMENT_LENGTH = 64  # PS3.7 C.4.2: Error Comment (0000,0902) is LO


class DicomError(Exception):
    """Base class of everything that the network modules raise on purpose."""


class RequestFailure(DicomError):
    """We answer the request with `status`; the text of the exception becomes the Error Comment."""

    status = Status.PROCESSING_FAILURE

    @property
    def comment(self) -> str:
        """The text as an Error Comment: printable ASCII, at most 64 characters."""
        return error_comment(str(self))


class OutOfResources(RequestFailure):
    status = Status.OUT_OF_RESOURCES


class ObjectMismatch(RequestFailure):
    status = Status.DATA_SET_DOES_NOT_MATCH


class CannotUnderstand(RequestFailure):
    status = Status.CANNOT_UNDERSTAND


class InstanceConflict(RequestFailure):
    status = Status.INSTANCE_CONFLICT


class ObjectTooLarge(RequestFailure):
    status = Status.OBJECT_TOO_LARGE


class SopClassNotSupported(RequestFailure):
    status = Status.SOP_CLASS_NOT_SUPPORTED


class NotAuthorized(RequestFailure):
    status = Status.NOT_AUTHORIZED


class InvalidRequest(RequestFailure):
    status = Status.INVALID_ARGUMENT_VALUE


class NoSuchActionType(RequestFailure):
    status = Status.NO_SUCH_ACTION_TYPE


class NoSuchEventType(RequestFailure):
    status = Status.NO_SUCH_EVENT_TYPE


class ProcessingFailure(RequestFailure):
    status = Status.PROCESSING_FAILURE


class ProtocolError(DicomError):
    """The peer sent something that PS3.8 or PS3.7 does not allow."""


class TlsFault(DicomError):
    """TLS cannot be set up from these files; the text names the file and what to do."""


def error_comment(text: str) -> str:
    """`text` as Error Comment can hold it: at most 64 characters of printable ASCII, no backslash; "?" for others."""
    return printable(text)[:ERROR_COMMENT_LENGTH].strip()


def as_failure(error: Exception) -> RequestFailure:
    """Return the failure to answer with: `error` itself, or one that names its class only, because of patient data.

    OSError and MemoryError become OutOfResources, so that the sender tries again: the disk may be full or unwritable.
    """
    if isinstance(error, RequestFailure):
        return error
    if isinstance(error, (OSError, MemoryError)):
        return OutOfResources(f"cannot store now: {getattr(error, 'strerror', None) or type(error).__name__}")
    return ProcessingFailure(f"internal error: {type(error).__name__}")
