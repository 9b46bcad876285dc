"""Our SCP: C-ECHO, C-STORE, and both roles of storage commitment, on one port.

The content of a request becomes a frozen value, a callback of the daemon answers it, and `answers.py` turns the answer,
or what the callback raised, into a status and an Error Comment.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from dicom_io.network.admission import CONGESTED, Admission, Limits, Peer
from dicom_io.network.application_entity import application_entity
from dicom_io.network.data_set_file import Intake
from dicom_io.network.errors import NotAuthorized, OutOfResources, SopClassNotSupported
from dicom_io.network.server import Accepted, ScpServer
from dicom_io.network.statuses import Status
from dicom_io.services.answers import Answer, answered
from dicom_io.services.storage_commitment import CommitReport, CommitRequest, on_n_action, on_n_event_report

__all__ = ["Admission", "Answer", "Arrived", "Callbacks", "Limits", "Peer", "Status", "StoreScp", "start_scp"]

SHUTDOWN_CHECK_SECONDS = 0.1  # how soon the listening thread notices a shutdown
_URGENCY = {0x0001: 0, 0x0000: 1, 0x0002: 2}  # PS3.7 E.1: HIGH, MEDIUM, LOW


@dataclass(frozen=True)
class Arrived:
    """A C-STORE request. `path` is a DICOM file with the bytes of the data set exactly as they were received.

    The file is removed when the callback has returned, unless it moved the file away. The UIDs are those of the command
    set, which the peer chose: never use one as a path. `priority` is 0 for urgent, 1 for normal, 2 for low. `sha256` is
    the digest of the whole file in hex, or "" where none was asked for.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    peer_address: str
    priority: int
    sha256: str = ""


def _refuse_commitment(_: object) -> None:
    raise NotAuthorized("storage commitment is not offered here")


@dataclass(frozen=True)
class Callbacks:
    """What the daemon does with what arrives. Each function is called in the thread of the association.

    on_store            returns the answer to an object, or raises a `RequestFailure`
    accepting           returns the failure (A700) to answer with while no object can be stored, otherwise None; called
                        for each association and each object, so it must be cheap
    on_commit_request   a peer asks us to commit objects; returning means that we have stored the request and
                        will report
    on_commit_report    a peer reports which of our objects it has committed
    on_event            gets security and failure events: the kind, and a detail without patient data
    """

    on_store: Callable[[Arrived], Answer]
    accepting: Callable[[], Answer | None] = lambda: None
    on_commit_request: Callable[[CommitRequest], None] = _refuse_commitment
    on_commit_report: Callable[[CommitReport], None] = _refuse_commitment
    on_event: Callable[[str, dict[str, str]], None] = lambda kind, detail: None


class StoreScp:
    """A running SCP; `start_scp` makes one."""

    def __init__(self, server: ScpServer):
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=[SHUTDOWN_CHECK_SECONDS], name="scp-accept", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def last_turn(self) -> float:
        """When the loop that accepts connections last went round, on the monotonic clock; it does so ten times a
        second, unless it hangs or has ended."""
        return self._server.last_turn

    @property
    def open_associations(self) -> int:
        return self._server.admission.open_associations

    def replace(self, peers: Sequence[Peer], tls: Callable[[], SSLContext] | None) -> None:
        """Use these peers and these TLS contexts for new associations. Those that are open are not affected."""
        self._server.admission.peers = tuple(peers)
        self._server.tls = tls

    def shutdown(self, grace_seconds: float = 30.0) -> None:
        """Stop accepting, let each association finish the object that it is receiving, and end it.

        What is not finished after `grace_seconds` is cut off.
        """
        self._server.shutdown(grace_seconds)
        self._thread.join()


def start_scp(
    ae_title: str,
    host: str,
    port: int,
    admission: Admission,
    limits: Limits,
    transfer_syntaxes: Sequence[str],
    callbacks: Callbacks,
    sop_classes: Sequence[str],
    incoming: Path,
    tls: Callable[[], SSLContext] | None = None,
    digest: bool = False,
) -> StoreScp:
    """Listen on an address and serve the peers that `admission` lets in. Port 0 takes a free port.

    Objects of `sop_classes` are accepted in `transfer_syntaxes`. They are written to files in the directory `incoming`,
    which should be on the file system where the callback keeps them. With `digest` the SHA-256 of each file is computed
    while it is written, which saves reading it again. `tls` returns the context for each new connection; None: TLS is
    off. Raises OSError where the address cannot be used.
    """
    ae = application_entity(ae_title, limits.association_seconds, limits.dimse_seconds, limits.idle_seconds)
    handlers = [
        (evt.EVT_REQUESTED, _on_requested, [callbacks]),
        (evt.EVT_C_ECHO, lambda event: Status.SUCCESS),
        (evt.EVT_C_STORE, _on_c_store, [callbacks]),
        (evt.EVT_N_ACTION, on_n_action, [callbacks.on_commit_request, callbacks.on_event]),
        (evt.EVT_N_EVENT_REPORT, on_n_event_report, [callbacks.on_commit_report, callbacks.on_event]),
    ]
    intake = Intake(incoming, limits.max_object_bytes, lambda command_set: _check_accepting(callbacks), digest)
    contexts = supported_contexts(sop_classes, transfer_syntaxes)
    server = ScpServer(ae, (host, port), contexts, handlers, admission, limits, intake, callbacks.on_event)
    server.tls = tls
    return StoreScp(server)


def supported_contexts(sop_classes: Sequence[str], transfer_syntaxes: Sequence[str]) -> list[PresentationContext]:
    """Return the presentation contexts that we accept, one for each SOP class."""
    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    contexts = [build_context(Verification, plain), build_context(StorageCommitmentPushModel, plain)]
    # PS3.4 J.3.3: a report may arrive on an association that the PACS requests with the SCP role
    contexts[1].scu_role = contexts[1].scp_role = True
    return contexts + [build_context(uid, list(transfer_syntaxes)) for uid in sop_classes]


# --- handlers ----------------------------------------------------------------------------------------------------


def _on_requested(event: evt.Event, callbacks: Callbacks) -> None:
    assoc: Accepted = event.assoc
    rejection = assoc.rejection or (CONGESTED if callbacks.accepting() else None)
    if rejection:
        assoc.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        subject = assoc.certificate.subject
        assoc.report(rejection.kind, **({"certificate": subject} if subject else {}))


def _check_accepting(callbacks: Callbacks) -> None:
    """Raise OutOfResources while the daemon takes no objects."""
    answer = callbacks.accepting()
    if answer is not None:
        raise OutOfResources(answer.comment)


def _on_c_store(event: evt.Event, callbacks: Callbacks) -> Dataset:
    try:
        return answered(lambda: callbacks.on_store(_arrived(event)), callbacks.on_event)
    finally:
        if event.request.data_set_file is not None:
            event.request.data_set_file.remove()


def _arrived(event: evt.Event) -> Arrived:
    request, assoc = event.request, event.assoc
    if request.failure is not None:
        raise request.failure
    if request.AffectedSOPClassUID != event.context.abstract_syntax:
        raise SopClassNotSupported("SOP class is not that of the presentation context")
    return Arrived(
        path=request.data_set_file.path,
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=assoc.requestor.ae_title,
        peer_address=assoc.requestor.address_info.address,
        priority=_URGENCY[request.Priority],
        sha256=request.data_set_file.sha256,
    )
