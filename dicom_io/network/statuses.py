"""DIMSE statuses by name. Each number is written here and nowhere else.

PS3.7 Annex C (general), PS3.4 B.2.3 (C-STORE), PS3.3 C.14.1.1 (Failure Reason in storage commitment).
"""

from enum import IntEnum
from typing import Literal

Outcome = Literal["ACCEPTED", "WARNING", "FAILED", "REFUSED", "UNREACHABLE"]


class Status(IntEnum):
    """The statuses that we send or understand by name."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    INVALID_ARGUMENT_VALUE = 0x0115
    INVALID_OBJECT_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION_TYPE = 0x0123
    NOT_AUTHORIZED = 0x0124
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH = 0xA900
    COERCION_OF_DATA_ELEMENTS = 0xB000
    CANNOT_UNDERSTAND = 0xC000
    INSTANCE_CONFLICT = 0xC0D1  # ours, in the range of C000: another object is stored under this SOP Instance UID
    OBJECT_TOO_LARGE = 0xC0D2  # ours, in the range of C000: larger than `dicom.max_object_bytes`


# worth another try: the peer lacks something at the moment, and has nothing against the object
_RETRYABLE = {Status.PROCESSING_FAILURE, Status.RESOURCE_LIMITATION}
# general failures that concern this object or us, and that another try would not change (PS3.7 C.5)
_FINAL = {status for status in Status if 0x0110 < status < 0x0200} - _RETRYABLE


def outcome_of(status: int) -> Outcome:
    """Return what the status of a C-STORE response means for the delivery.

    FAILED is an answer that another try may change: A7xx, a processing failure, lack of resources, and numbers that the
    standard does not define. REFUSED is one that no other try would change. Duplicate SOP Instance is a WARNING,
    because the peer has the object, and its bytes never change. UNREACHABLE is not said of a status: a peer that
    answers is there.
    """
    if status == Status.SUCCESS:
        return "ACCEPTED"
    if status == Status.DUPLICATE_SOP_INSTANCE or status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF:
        return "WARNING"
    if status in _FINAL or 0xA800 <= status <= 0xAFFF or 0xC000 <= status <= 0xCFFF:
        return "REFUSED"
    return "FAILED"
