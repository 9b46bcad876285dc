"""Our SCU: C-STORE over an association that is kept open, C-ECHO, and both roles of storage commitment.

Whatever goes wrong at a destination is a value (`Reply`), never an exception.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLContext, SSLError
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from dicom_io.network.application_entity import application_entity
from dicom_io.network.association import Association, request_association
from dicom_io.network.errors import error_comment
from dicom_io.network.statuses import Status, outcome_of
from dicom_io.network.transport import tls_reason
from dicom_io.services.answers import OnEvent
from dicom_io.services.reply import Reply, as_reply, unreachable, why
from dicom_io.services.storage_commitment import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    REQUEST_ACTION,
    WELL_KNOWN_INSTANCE,
    CommitReport,
    Reference,
    action_information,
    event_information,
    on_n_event_report,
)
from dicom_io.services.store_request import accepted_classes, accepted_syntaxes, c_store_rq, encodings

__all__ = ["Destination", "Reply", "Sender"]

PENDING = (0xFF00, 0xFF01)  # PS3.7 C.1.3
MOST_PENDING = 10
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True)
class Destination:
    """A peer that we send to.

    `tls` returns the context for each new connection; None: TLS is off. `tls_name` is the name that the peer's
    certificate must carry; "" means `host`. `sop_classes` are proposed with each
    association; an object of another class makes the sender open a new one. `storage_commitment`: propose that too.
    """

    ae_title: str
    host: str
    port: int
    tls: Callable[[], SSLContext] | None = None
    tls_name: str = ""
    sop_classes: tuple[str, ...] = ()
    storage_commitment: bool = False


class Sender:
    """The connection to one destination: one association, opened by the first request, kept, and replaced if it breaks.

    To be used by one thread at a time. `timeout_seconds` limits connecting and each answer; after `idle_seconds`
    without a request `release_if_idle` releases the association. `on_commit_report` gets the commitment reports that
    the peer sends on this association; they are read with the next request or by `attend`. `on_event` is told when the
    TLS handshake fails.
    """

    def __init__(
        self,
        calling_ae_title: str,
        destination: Destination,
        timeout_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        on_commit_report: Callable[[CommitReport], None] = lambda report: None,
        on_event: OnEvent = lambda kind, detail: None,
    ):
        self._destination = destination
        self._ae = application_entity(calling_ae_title, timeout_seconds, timeout_seconds, None)
        self._timeout, self._idle = timeout_seconds, idle_seconds
        self._handlers = [(evt.EVT_N_EVENT_REPORT, on_n_event_report, [on_commit_report, on_event])]
        self._on_event = on_event
        self._assoc: Association | None = None
        self._extra: list[tuple[str, str]] = []
        self._used = 0.0
        self._message_id = 0

    # --- requests

    def send(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, data: bytes) -> Reply:
        """Send an object by C-STORE. `data` is its encoded data set, without file meta, in `transfer_syntax_uid`.

        Where the peer does not accept that transfer syntax, the object is converted to the first that it accepts.
        """
        conversions = encodings(transfer_syntax_uid)

        def store(assoc: Association) -> Reply | None:
            accepted = accepted_syntaxes(assoc, sop_class_uid)
            for syntax, convert in conversions.items():
                if syntax in accepted:
                    return self._store(assoc, accepted[syntax], sop_class_uid, sop_instance_uid, convert(data))
            comment = "the peer accepts no presentation context for this object"
            return Reply("REFUSED", int(Status.SOP_CLASS_NOT_SUPPORTED), comment)

        self._propose(sop_class_uid, transfer_syntax_uid)
        return self._request(store)

    def echo(self) -> Reply:
        """Send C-ECHO (PS3.7 9.1.5)."""

        def echo(assoc: Association) -> Reply | None:
            if Verification not in accepted_classes(assoc):
                return Reply("REFUSED", int(Status.SOP_CLASS_NOT_SUPPORTED), "the peer does not take C-ECHO")
            return as_reply(assoc.send_c_echo())

        return self._request(echo)

    def request_commitment(self, transaction_uid: str, references: Sequence[Reference]) -> Reply:
        """Ask the peer by N-ACTION to commit `references` (PS3.4 J.3.2). Its report arrives later."""

        def ask(assoc: Association) -> Reply | None:
            if StorageCommitmentPushModel not in accepted_classes(assoc):
                return Reply("REFUSED", int(Status.SOP_CLASS_NOT_SUPPORTED), "the peer does no storage commitment")
            status, _ = assoc.send_n_action(
                action_information(transaction_uid, references),
                REQUEST_ACTION,
                StorageCommitmentPushModel,
                WELL_KNOWN_INSTANCE,
            )
            return as_reply(status)

        for syntax in PLAIN:
            self._propose(StorageCommitmentPushModel, syntax)
        return self._request(ask)

    def report_commitment(self, report: CommitReport) -> Reply:
        """Report by N-EVENT-REPORT to a peer that asked us to commit, on a new association as SCP (PS3.4 J.3.3)."""
        contexts = [build_context(StorageCommitmentPushModel, list(PLAIN))]
        assoc = self._open(contexts, [build_role(StorageCommitmentPushModel, scp_role=True)])
        if isinstance(assoc, Reply):
            return assoc
        try:
            status, _ = assoc.send_n_event_report(
                event_information(report),
                FAILURES_EXIST if report.failed else ALL_COMMITTED,
                StorageCommitmentPushModel,
                WELL_KNOWN_INSTANCE,
            )
            return as_reply(status) or unreachable(why(assoc))
        finally:
            _end(assoc)

    # --- the kept association

    def attend(self, seconds: float = 0.0) -> None:
        """Wait up to `seconds` for what the peer sends by itself (commitment report, release), and answer it."""
        if self._assoc is not None and not self._assoc.attend(seconds):
            self._assoc = None

    def release_if_idle(self) -> None:
        """Serve what the peer has sent, and release the association if it was not used for `idle_seconds`."""
        self.attend()
        if self._assoc is not None and time.monotonic() - self._used >= self._idle:
            self.close()

    def close(self) -> None:
        """Release the association, if there is one."""
        assoc, self._assoc = self._assoc, None
        if assoc is not None:
            _end(assoc)

    @property
    def is_open(self) -> bool:
        return self._assoc is not None

    def _request(self, request: Callable[[Association], Reply | None]) -> Reply:
        """Run `request`. If an association from earlier turns out to be dead, try once more with a new one."""
        self.attend()
        kept = self._assoc is not None
        reply = self._request_once(request)
        if kept and reply.status is None:
            reply = self._request_once(request)
        return reply

    def _request_once(self, request: Callable[[Association], Reply | None]) -> Reply:
        if self._assoc is None:
            assoc = self._open(self._contexts())
            if isinstance(assoc, Reply):
                return assoc
            self._assoc = assoc
        assoc = self._assoc
        reply = request(assoc)
        self._used = time.monotonic()
        if reply is None:  # no answer; a late one must not be taken for the answer to the next request
            self._assoc = None
            if assoc.is_established:
                assoc.abort()
            return unreachable(why(assoc))
        return reply

    def _open(self, contexts: Sequence[PresentationContext], roles: Sequence[Any] = ()) -> Association | Reply:
        """Return a new association, or a reply that says why there is none."""
        peer = self._destination
        tls = (peer.tls(), peer.tls_name or peer.host) if peer.tls else None
        try:
            assoc = request_association(
                self._ae, peer.ae_title, (peer.host, peer.port), contexts,
                tls=tls, roles=roles, handlers=self._handlers, response_seconds=self._timeout,
            )  # fmt: skip
        except OSError as error:
            return unreachable(f"host name not resolved: {error.strerror or error}")
        if assoc.is_established:
            return assoc
        failure = assoc.dul.socket.failure
        if isinstance(failure, SSLError):
            self._tell_of_tls(failure)
        return unreachable(why(assoc))

    def _tell_of_tls(self, failure: SSLError) -> None:
        titles = {"calling_ae_title": self._ae.ae_title, "called_ae_title": self._destination.ae_title}
        self._on_event("tls-refused", {"peer_address": self._destination.host, **titles, "error": tls_reason(failure)})

    def _contexts(self) -> list[PresentationContext]:
        """Return a context for each pair of class and syntax, so that the peer cannot choose a syntax that we lack."""
        return [build_context(uid, syntax) for uid, syntax in self._pairs()]

    def _pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of SOP class and transfer syntax that a new association proposes, each once."""
        pairs: list[tuple[str, str]] = [(uid, syntax) for uid in self._destination.sop_classes for syntax in PLAIN]
        pairs += [(Verification, ImplicitVRLittleEndian), *self._extra]
        if self._destination.storage_commitment:
            pairs += [(StorageCommitmentPushModel, syntax) for syntax in PLAIN]
        return list(dict.fromkeys(pairs))

    def _propose(self, sop_class_uid: str, transfer_syntax_uid: str) -> None:
        """Propose this class and syntax from now on; an association that was opened without them is closed."""
        if (sop_class_uid, transfer_syntax_uid) not in self._pairs():
            self._extra.append((sop_class_uid, transfer_syntax_uid))
            self.close()

    def _store(self, assoc: Association, context_id: int, sop_class_uid: str, uid: str, data: bytes) -> Reply | None:
        """Send one C-STORE request and return the reply, or None where no valid response to it came."""
        self._message_id = self._message_id % 0xFFFF + 1
        command = c_store_rq(sop_class_uid, uid, self._message_id)
        assoc.dimse.send_encoded(context_id, command, memoryview(data))
        response = _final_response(assoc)
        # one operation is outstanding, so a peer that leaves the ID at 0 can mean this one only
        if response is None or response.MessageIDBeingRespondedTo not in (0, self._message_id):
            return None
        return Reply(outcome_of(response.Status), response.Status, error_comment(response.ErrorComment or ""))


def _final_response(assoc: Association) -> Any:
    """The next response that is valid and not Pending, which C-STORE does not have, but some peers send; else None."""
    for _ in range(MOST_PENDING):
        _, response = assoc.dimse.get_msg(block=True)
        if response is None or not response.is_valid_response:
            return None
        if response.Status not in PENDING:
            return response
    return None


def _end(assoc: Association) -> None:
    if assoc.is_established:
        assoc.release()
    assoc.kill()
