"""`hilum conflicts`: a person sees two objects under one SOP Instance UID and says which counts."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from daemon.cli.main import app
from daemon.pipeline import receive
from daemon.runtime.clock import now
from dicom_io.image.header import read_header
from dicom_io.network.errors import InstanceConflict
from dicom_io.services.store_scp import Arrived
from storage.analyses import InstanceOutcome
from storage.records import AnalysisOutcome
from storage.spool import Spool
from storage.store import Store, open_store
from tests.support.peers import dx_file
from tests.support.studies import at

UIDS = {"StudyInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.3.4"}
#: The two senders' pictures differ.
PIXELS = {"FIRST": {}, "SECOND": {"PixelData": bytes(range(256)) * 512}}


class Place:
    """A database and a spool in a folder, and the command on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store: Store = open_store("", directory)
        self.spool = Spool(directory / "spool")

    def receive(self, **elements: str) -> None:
        """One object comes in. Raises InstanceConflict as the daemon's receiver sees it."""
        file = dx_file(self.directory / "arriving.dcm", **{**UIDS, **PIXELS[elements["StationName"]], **elements})
        incoming = self.spool.incoming / "arriving"
        shutil.move(file, incoming)
        header = read_header(incoming)
        uids = (header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid)
        receive(
            Arrived(incoming, *uids, elements["StationName"], "127.0.0.1", 1), self.spool, self.store.journal, at(0)
        )

    def run(self, *words: str) -> Result:
        """`hilum conflicts ...` on this database."""
        environ = {"HILUM__STORAGE__DIRECTORY": str(self.directory)}
        return CliRunner().invoke(app, ["conflicts", *words], env=environ)

    def states(self) -> dict[str, tuple[str, str]]:
        """State and Patient ID of each study."""
        return {s["study_instance_uid"]: (s["state"], s["patient_id"]) for s in self.store.queries.studies()}

    def files(self) -> int:
        return len(list(self.spool.directory.glob("objects/*/*.dcm")))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One object under its UID, analysed, and another that came later."""
    made = Place(tmp_path)
    made.receive(StationName="FIRST", PatientID="A")
    (study,) = made.store.journal.settled(at(60), 3.0, 1, "w")
    analysed = (InstanceOutcome(study.instances[0].id, "analysed"),)
    made.store.journal.analysed(study, AnalysisOutcome(analysed), at(61))
    with pytest.raises(InstanceConflict):
        made.receive(StationName="SECOND", PatientID="B")
    return made


def test_it_is_listed_and_shown(place: Place) -> None:
    """Number, both senders; and the two headers side by side, with a mark where they differ."""
    (row,) = json.loads(place.run("list", "--json").stdout)
    assert (row["id"], row["state"]) == (1, "OPEN")
    assert (row["calling_ae_title"], row["held_calling_ae_title"]) == ("SECOND", "FIRST")
    rows = {r["element"]: r for r in json.loads(place.run("show", "1", "--json").stdout)}
    assert rows["PatientID"] == {"element": "PatientID", "held": "A", "other": "B", "differs": "*"}
    assert rows["Rows"]["differs"] == ""


def test_taking_analyses_again_and_can_be_undone(place: Place) -> None:
    """The other object counts, its patient is the study's, nothing is thrown away, both steps are in the trail."""
    assert place.run("take", "1").exit_code == 0
    assert place.states() == {"1.2.3": ("RECEIVED", "B")}
    assert (json.loads(place.run("list", "--json").stdout), place.files()) == ([], 2)
    (row,) = json.loads(place.run("list", "--all", "--json").stdout)
    assert (row["state"], row["calling_ae_title"]) == ("REPLACED", "FIRST")
    assert place.run("take", "1").exit_code == 0
    assert place.states() == {"1.2.3": ("RECEIVED", "A")}
    taken = [e for e in place.store.queries.events("1.2.3") if e["event"] == "CONFLICT_TAKEN"]
    assert len({e["detail"]["sha256"] for e in taken}) == 2
    assert all(e["actor"].startswith("operator ") and e["sop_instance_uid"] == "1.2.3.4" for e in taken)
    assert place.store.trail.verify() == []


def test_discarding_removes_the_file_and_keeps_the_digest(place: Place) -> None:
    """What counts stays; the other object's bytes go, its digest is in the trail."""
    (row,) = place.store.queries.conflicts()
    assert place.run("discard", "1").exit_code == 0
    assert (place.store.queries.conflicts(settled=True), place.files()) == ([], 1)
    (event,) = [e for e in place.store.queries.events("1.2.3") if e["event"] == "CONFLICT_DISCARDED"]
    assert event["detail"]["sha256"] == row["sha256"]
    assert place.states() == {"1.2.3": ("ANALYSED", "A")}


@pytest.mark.parametrize("verb", ["show", "take", "discard"])
def test_a_number_that_is_none_is_said(place: Place, verb: str) -> None:
    """A sentence on standard error, exit status 1, nothing changed."""
    done = place.run(verb, "7")
    assert (done.exit_code, "there is no conflict 7" in done.stderr) == (1, True)
    assert place.states() == {"1.2.3": ("ANALYSED", "A")}


def test_an_object_that_names_another_study_moves_there(tmp_path: Path) -> None:
    """Both studies are put right: the new one waits for analysis, the one left without an image says why."""
    place = Place(tmp_path)
    place.receive(StationName="FIRST", PatientID="A")
    with pytest.raises(InstanceConflict):
        place.receive(StationName="SECOND", PatientID="B", StudyInstanceUID="1.2.9")
    assert place.run("take", "1").exit_code == 0
    assert place.states() == {"1.2.3": ("IGNORED", "A"), "1.2.9": ("RECEIVED", "B")}
    (study,) = place.store.journal.settled(now() + timedelta(seconds=60), 3.0, 9, "w")
    assert [image.sop_instance_uid for image in study.instances] == ["1.2.3.4"]
