"""Destinations of type "dicom": a Storage SCP, which may also be asked for storage commitment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from config.sections import AeTitle, DestinationSettings, Port
from config.settings import Settings
from daemon import outputs
from daemon.channel import Channel, DestinationType, Hooks
from daemon.runtime.certificates import client_tls
from storage.records import Delivery, Sent, Uncommitted

if TYPE_CHECKING:
    from dicom_io.services.reply import Reply
    from dicom_io.services.store_scu import Sender


class DicomDestination(DestinationSettings):
    """The keys of a [[destination]] with type = "dicom"."""

    type: Literal["dicom"] = "dicom"
    ae_title: AeTitle
    host: str
    port: Port
    storage_commitment: bool = False
    tls: bool = False

    @property
    def title(self) -> str:
        """The AE title of the destination."""
        return self.ae_title

    @property
    def address(self) -> str:
        """The host name or address of the destination."""
        return self.host

    @property
    def commits(self) -> bool:
        """Whether this destination is asked for storage commitment."""
        return self.storage_commitment

    @property
    def needs_tls_files(self) -> bool:
        """Whether connections to it use the files in [tls]."""
        return self.tls


class DicomChannel(Channel):
    """Sends by C-STORE over an association that stays open while there is work."""

    test_name = "C-ECHO"

    def __init__(self, destination: DicomDestination, scu: Sender):
        self._destination, self._scu = destination, scu

    def send(self, delivery: Delivery) -> Sent:
        """Send the bytes that the journal holds by C-STORE."""
        uids = delivery.sop_class_uid, delivery.sop_instance_uid, delivery.transfer_syntax_uid
        return _sent(self._scu.send(*uids, delivery.data))

    def test(self) -> str:
        """Send a C-ECHO; return a sentence that names the fault, or "" if it was accepted."""
        reply = self._scu.echo()
        where = f"{self._destination.ae_title}@{self._destination.host}:{self._destination.port}"
        return "" if reply.outcome == "ACCEPTED" else f"{where}: {reply.comment}"

    def is_reachable(self) -> bool:
        """Whether the destination answers at all; one that does not accept C-ECHO counts as reachable."""
        return self._scu.echo().outcome != "UNREACHABLE"

    def ask_to_commit(self, transaction_uid: str, objects: Sequence[Uncommitted]) -> Sent:
        """Ask the destination to commit to these objects (PS3.4 J.3.2); its report comes later."""
        from dicom_io.services.storage_commitment import Reference

        references = [Reference(o.sop_class_uid, o.sop_instance_uid) for o in objects]
        return _sent(self._scu.request_commitment(transaction_uid, references))

    def rest(self) -> None:
        """Read the commitment reports that arrived, and release the association after its idle time."""
        self._scu.release_if_idle()

    @property
    def awaits_reports(self) -> bool:
        """True while an association is open on which a commitment report may arrive."""
        return self._destination.storage_commitment and self._scu.is_open

    def close(self) -> None:
        """Release the association, if one is open."""
        self._scu.close()


def _sent(reply: Reply) -> Sent:
    return Sent(reply.outcome, reply.status, reply.comment)


def _open(settings: Settings, destination: DicomDestination, hooks: Hooks) -> DicomChannel:
    from dicom_io.services.store_scu import Destination, Sender

    to = Destination(
        destination.ae_title,
        destination.host,
        destination.port,
        tls=client_tls(settings) if destination.tls else None,
        sop_classes=outputs.sop_classes(destination.outputs),
        storage_commitment=destination.storage_commitment,
    )
    delivery = settings.delivery
    scu = Sender(
        settings.dicom.ae_title,
        to,
        delivery.timeout_seconds,
        delivery.idle_release_seconds,
        hooks.on_commit_report,
        hooks.on_event,
    )
    return DicomChannel(destination, scu)


TYPE = DestinationType(DicomDestination, _open)
