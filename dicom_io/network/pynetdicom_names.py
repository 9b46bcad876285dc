"""Every name of pynetdicom and pydicom that we use although it is private, and may therefore change in any release.

`tests/dicom_io/test_pynetdicom_names.py` asks the installed versions for each of them, and searches our source code for
private names that are missing here. To move to a new minor version of pynetdicom: raise the limit in `pyproject.toml`,
run the tests, and add the version to TRIED.
"""

from dataclasses import dataclass

# The versions of pynetdicom that all network tests were run with. With 3.0.1 one message differs: a host name that
# cannot be resolved is reported as "connection failed" and not as "host name not resolved".
TRIED = ("3.0.1", "3.0.3", "3.0.4")


@dataclass(frozen=True)
class PrivateName:
    """`name` of `owner`, a module or module:Class, and what we use it for."""

    owner: str
    name: str
    use: str


_ASSOCIATION = "pynetdicom.association:Association"
_UPPER_LAYER = "pynetdicom.dul:DULServiceProvider"
_SOCKET = "pynetdicom.transport:AssociationSocket"
PRIVATE_NAMES = (
    PrivateName("pynetdicom.dimse", "_RQ_TO_MESSAGE", "message class of a request primitive, to encode it"),
    PrivateName("pynetdicom.dimse", "_RSP_TO_MESSAGE", "message class of a response primitive, to encode it"),
    PrivateName(_ASSOCIATION, "_abort_blocking", "overridden: abort without threads to wait for"),
    PrivateName(_ASSOCIATION, "_accepted_cx", "accepted presentation contexts by their ID"),
    PrivateName(_ASSOCIATION, "_dul_ready", "set, so that `request` does not wait for a thread"),
    PrivateName(_ASSOCIATION, "_is_paused", "kept True, so that send_* waits for no thread"),
    PrivateName(_ASSOCIATION, "_serve_request", "extended: C-STORE under any accepted context"),
    PrivateName(_UPPER_LAYER, "_decode_pdu", "decode a PDU and name its event"),
    PrivateName(_UPPER_LAYER, "_process_recv_primitive", "name the event of a queued primitive"),
    PrivateName(_UPPER_LAYER, "_recv_pdu", "hand a decoded PDU to the state machine"),
    PrivateName(_SOCKET, "_is_connected", "set after connecting and closing"),
    PrivateName(_SOCKET, "_ready", "set, so that negotiation continues after connecting"),
    PrivateName(_SOCKET, "_shutdown_socket", "overridden: how the state machine closes"),
)

# States and events of pynetdicom's state machine that we name, with their meaning in PS3.8 9.2 as pynetdicom has it
STATES = {
    "Sta2": "Transport connection open (Awaiting A-ASSOCIATE-RQ PDU)",
    "Sta6": "Association established and ready for data transfer",
    "Sta13": "Awaiting Transport Connection Close Indication (Association no longer exists)",
}
EVENTS = {
    "Evt2": "Transport connect confirmation (local transport service)",
    "Evt17": "Transport connection closed indication (local transport service)",
    "Evt18": "ARTIM timer expired (Association reject/release timer)",
    "Evt19": "Unrecognized or invalid PDU received",
}
