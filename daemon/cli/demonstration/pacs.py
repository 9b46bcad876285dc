"""The small PACS of the demonstration: a Storage SCP that keeps each object as a file."""

import shutil
from pathlib import Path

from dicom_io.network.admission import Admission, Limits
from dicom_io.network.statuses import Status
from dicom_io.results.report import SOP_CLASSES
from dicom_io.services.store_scp import Answer, Arrived, Callbacks, start_scp

AE_TITLE = "DEMOPACS"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2")


class Pacs:
    """Accepts result objects on a free port of this machine. Made for the demonstration only."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        limits = Limits()
        admission = Admission(AE_TITLE, (), limits, accept_any_peer=True)
        self._scp = start_scp(
            AE_TITLE, "127.0.0.1", 0, admission, limits, SYNTAXES, Callbacks(self._keep),
            (*SOP_CLASSES.values(), SECONDARY_CAPTURE), directory,
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._scp.port

    def _keep(self, arrived: Arrived) -> Answer:
        shutil.move(arrived.path, self.directory / f"{arrived.sop_instance_uid.replace('/', '_')[:64]}.dcm")
        return Answer(Status.SUCCESS)

    def close(self) -> None:
        """Stop listening."""
        self._scp.shutdown(1.0)
