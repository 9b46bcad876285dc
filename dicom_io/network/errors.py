"""What can go wrong on the network; each error carries the DIMSE status and the Error Comment that answer for it.

    DicomError
    ├── RequestFailure             a request that we answer with a failure
    │   ├── OutOfResources         A700  disk or queue full, shutting down: the sender may try again
    │   ├── ObjectMismatch         A900  the data set is not what the command announced
    │   ├── CannotUnderstand       C000  no DICOM object
    │   ├── InstanceConflict       C0D1  other bytes are held under this SOP Instance UID
    │   ├── ObjectTooLarge         C0D2  more bytes than we take
    │   ├── SopClassNotSupported   0122  the command names another SOP class than the presentation context
    │   ├── NotAuthorized          0124
    │   ├── InvalidRequest         0115  the information of an N-ACTION or N-EVENT-REPORT is unusable
    │   ├── NoSuchActionType       0123  an action that storage commitment does not have
    │   ├── NoSuchEventType        0113  an event that it does not have
    │   └── ProcessingFailure      0110  anything else
    ├── ProtocolError              the peer breaks PS3.8 or PS3.7: the association is aborted
    └── TlsFault                   certificate, key or CA file unusable

No text of these may hold patient data: texts travel to the peer and into the log.
"""

from dicom_io.network.statuses import Status

ERROR_COMMENT_LENGTH = 64  # PS3.7 C.4.2: Error Comment (0000,0902) is LO


class DicomError(Exception):
    """Anything of the network side of this package."""


class RequestFailure(DicomError):
    """A request answered with a failure; the text is the Error Comment."""

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
    """The peer sent what PS3.8 or PS3.7 does not allow."""


class TlsFault(DicomError):
    """TLS cannot be set up from these files; the text names the file and what to do."""


def error_comment(text: str) -> str:
    """`text` cut to what Error Comment may hold (LO without backslash and control characters)."""
    clean = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
    return clean[:ERROR_COMMENT_LENGTH].strip()


def as_failure(error: Exception) -> RequestFailure:
    """The refusal that answers for `error`: itself, or one made from its kind alone: its text may hold patient data.

    A disk that is full or unwritable is worth another try of the sender; so is a database that is away, which the
    daemon raises as OutOfResources.
    """
    if isinstance(error, RequestFailure):
        return error
    if isinstance(error, (OSError, MemoryError)):
        return OutOfResources(f"cannot store now: {getattr(error, 'strerror', None) or type(error).__name__}")
    return ProcessingFailure(f"internal error: {type(error).__name__}")
