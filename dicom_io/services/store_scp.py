"""Our SCP: C-ECHO, C-STORE, and both roles of storage commitment, on one port.

What a request says becomes a frozen value, the daemon's callback answers it, and `answers.py` turns the answer, or what
the callback raised, into status and Error Comment.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from dicom_io.network.admission import CONGESTED, Admission, Limits, Peer, Rejection
from dicom_io.network.association import application_entity
from dicom_io.network.errors import NotAuthorized, OutOfResources, SopClassNotSupported
from dicom_io.network.server import Accepted, ScpServer
from dicom_io.network.statuses import Status
from dicom_io.services.answers import Answer, answered
from dicom_io.services.storage_commitment import CommitReport, CommitRequest, on_n_action, on_n_event_report

__all__ = ["Admission", "Answer", "Arrived", "Callbacks", "Limits", "Peer", "Status", "StoreScp", "start_scp"]

STORED_SOP_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)
STOP_LOOK_SECONDS = 0.1  # how soon the listening thread sees a shutdown
_URGENCY = {0x0001: 0, 0x0000: 1, 0x0002: 2}  # PS3.7 E.1: HIGH, MEDIUM, LOW


@dataclass(frozen=True)
class Arrived:
    """A C-STORE request whose data set is in `path`: preamble, file meta and the data set's bytes as they came.

    The file is removed after the answer unless the callback moved it away. UIDs are the command set's; nothing here
    is fit to be a path. `priority`: 0 urgent, 1 normal, 2 low. `sha256`: of the whole file, in hex, where asked for.
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
    """What the daemon does with what arrives; each runs in the thread of its association.

    on_store            the answer to an object, or a `Refusal` raised
    accepting           a failure while nothing can be taken in (A700), None else; asked often, so it must be cheap
    on_commit_request   a peer asks us to commit; returning means that the request is kept and will be answered
    on_commit_report    a peer committed, or did not, what we sent
    on_event            security and failure events: kind, and a detail without patient data
    """

    on_store: Callable[[Arrived], Answer]
    accepting: Callable[[], Answer | None] = lambda: None
    on_commit_request: Callable[[CommitRequest], None] = _refuse_commitment
    on_commit_report: Callable[[CommitReport], None] = _refuse_commitment
    on_event: Callable[[str, dict[str, str]], None] = lambda kind, detail: None


class StoreScp:
    """A running SCP."""

    def __init__(self, server: ScpServer):
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=[STOP_LOOK_SECONDS], name="scp-accept", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def open_associations(self) -> int:
        return self._server.gate.open_associations

    def replace(self, peers: Sequence[Peer], tls: SSLContext | None) -> None:
        """From the next association on, these peers and these certificates; open ones go on as they began."""
        self._server.gate.peers = tuple(peers)
        self._server.ssl_context = tls

    def shutdown(self, grace_seconds: float = 30.0) -> None:
        """Accept nothing more, answer the object that each association is in the middle of, then end it."""
        self._server.shutdown(grace_seconds)
        self._thread.join()


def start_scp(
    ae_title: str,
    host: str,
    port: int,
    gate: Admission,
    limits: Limits,
    transfer_syntaxes: Sequence[str],
    callbacks: Callbacks,
    sop_classes: Sequence[str] = STORED_SOP_CLASSES,
    tls: SSLContext | None = None,
    digest: bool = False,
) -> StoreScp:
    """Listen and serve; port 0 takes a free one. Raises OSError where the address cannot be had.

    `digest`: take the SHA-256 of each object while it is written, which saves reading it again.
    Data sets are written to files that `tempfile` makes, in `tempfile.tempdir`: set it to a directory of the spool's
    file system first.
    """
    ae = application_entity(ae_title, limits.association_seconds, limits.dimse_seconds, limits.idle_seconds)
    handlers = [
        (evt.EVT_REQUESTED, _on_requested, [callbacks]),
        (evt.EVT_C_ECHO, lambda event: Status.SUCCESS),
        (evt.EVT_C_STORE, _on_c_store, [callbacks]),
        (evt.EVT_N_ACTION, on_n_action, [callbacks.on_commit_request, callbacks.on_event]),
        (evt.EVT_N_EVENT_REPORT, on_n_event_report, [callbacks.on_commit_report, callbacks.on_event]),
    ]
    server = ScpServer(
        ae, (host, port), supported_contexts(sop_classes, transfer_syntaxes), handlers, gate, limits,
        admit=lambda command_set: _admit(callbacks), on_event=callbacks.on_event,
        digest=digest,
    )  # fmt: skip
    server.ssl_context = tls
    return StoreScp(server)


def supported_contexts(sop_classes: Sequence[str], transfer_syntaxes: Sequence[str]) -> list[PresentationContext]:
    """What we accept, one context for each SOP class."""
    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    contexts = [build_context(Verification, plain), build_context(StorageCommitmentPushModel, plain)]
    # PS3.4 J.3.3: a report may come on an association that the PACS asks for, as SCP of the class
    contexts[1].scu_role = contexts[1].scp_role = True
    return contexts + [build_context(uid, list(transfer_syntaxes)) for uid in sop_classes]


def sender_first(
    supported: Sequence[PresentationContext], proposed: Sequence[PresentationContext]
) -> list[PresentationContext]:
    """What we accept, with the transfer syntaxes in the order in which the sender lists them for that SOP class.

    The choice is the acceptor's (PS3.8 9.3.3.2); senders list first what they hold, and so need not transcode.
    """
    ordered = []
    for context in supported:
        ranks = [c.transfer_syntax for c in proposed if c.abstract_syntax == context.abstract_syntax]
        wanted = [uid for syntaxes in ranks for uid in syntaxes if uid in context.transfer_syntax]
        if wanted:
            copy = build_context(context.abstract_syntax, list(dict.fromkeys(wanted)))
            copy.scu_role, copy.scp_role = context.scu_role, context.scp_role
            ordered.append(copy)
    return ordered


# --- handlers ----------------------------------------------------------------------------------------------------


def _on_requested(event: evt.Event, callbacks: Callbacks) -> None:
    assoc: Accepted = event.assoc
    request = assoc.requestor.primitive
    rejection: Rejection | None = CONGESTED if callbacks.accepting() else None
    rejection = rejection or assoc.enter(request.calling_ae_title, request.called_ae_title)
    if rejection:
        assoc.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        assoc.report(rejection.kind)
        return
    assoc.acceptor.supported_contexts = sender_first(
        assoc.acceptor.supported_contexts, request.presentation_context_definition_list
    )


def _admit(callbacks: Callbacks) -> None:
    answer = callbacks.accepting()
    if answer is not None:
        raise OutOfResources(answer.comment)


def _on_c_store(event: evt.Event, callbacks: Callbacks) -> Dataset:
    return answered(lambda: callbacks.on_store(_arrived(event)), callbacks.on_event)


def _arrived(event: evt.Event) -> Arrived:
    request, assoc = event.request, event.assoc
    if request.refusal is not None:
        raise request.refusal
    if request.AffectedSOPClassUID != event.context.abstract_syntax:
        raise SopClassNotSupported("SOP class is not that of the presentation context")
    return Arrived(
        path=event.dataset_path,
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=assoc.requestor.ae_title,
        peer_address=assoc.requestor.address_info.address,
        priority=_URGENCY[request.Priority],
        sha256=request.sha256,
    )
