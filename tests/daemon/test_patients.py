"""One report, one patient: images of several, corrected headers, and the same image in other bytes."""

import json
import shutil
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.filereader import read_dataset
from pydicom.uid import RLELossless
from typer.testing import CliRunner, Result

from config.settings import Settings
from daemon import pipeline
from daemon.analysis.notices import notices
from daemon.analysis.routing import routes
from daemon.cli.main import app
from daemon.decisions import Quarantine, SeveralPatients, decide
from daemon.runtime.clock import now
from daemon.wiring import open_classifier, read_settings
from dicom_io.image.header import read_header
from dicom_io.network.errors import InstanceConflict
from dicom_io.services.store_scp import Answer, Arrived
from storage.records import AnalysisOutcome, ResultObject, Study
from storage.spool import Spool
from storage.store import Store, open_store
from tests.support.peers import dx_file

STUDY = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "PatientBirthDate": "19600102"}
FIRST = {**STUDY, "SOPInstanceUID": "1.2.3.1.1", "PatientID": "TRAUMA-77", "AccessionNumber": ""}
DESTINATION = '[{"name": "pacs", "ae_title": "PACS", "host": "h", "port": 1, "outputs": ["sr"]}]'


class Line:
    """Receiver and analyser on a database and a spool in a folder, without a network."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory, self.settings = directory, settings
        self.store: Store = open_store("", directory)
        self.spool = Spool(directory / "spool")
        self.classifier = open_classifier(settings)

    def receive(self, file: Path) -> Answer:
        """One object comes in, by the pipeline's own function."""
        incoming = self.spool.incoming / "arriving"
        shutil.copy(file, incoming)
        header = read_header(incoming)
        uids = (header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid)
        arrived = Arrived(incoming, *uids, "MODALITY1", "127.0.0.1", 1)
        return pipeline.receive(arrived, self.spool, self.store.journal, now())

    def analyse(self) -> list[AnalysisOutcome]:
        """Every study that has settled, as the analyser does it; what is put into quarantine has no outcome."""
        outcomes = []
        for study in self.store.journal.settled(now() + timedelta(seconds=60), 3.0, 9, "w"):
            try:
                outcomes.append(self._analysed(study))
            except SeveralPatients as error:
                decision = decide(error)
                assert isinstance(decision, Quarantine)
                self.store.journal.quarantine(study.id, decision.reason, now(), decision.kind)
        return outcomes

    def _analysed(self, study: Study) -> AnalysisOutcome:
        routed = routes(self.settings)
        images = pipeline.read_images(study, self.spool, routed, self.settings.dicom.max_pixels)
        opinions = pipeline.opinions([images], routed[0], self.classifier, 8)
        outcome = pipeline.conclude(study, opinions, self.settings, now().astimezone())
        self.store.journal.analysed(study, outcome, now())
        return outcome

    def told(self) -> tuple[ResultObject, ...]:
        """What the destinations would be told if the study went into quarantine now."""
        (study,) = self.store.journal.settled(now() + timedelta(seconds=60), 3.0, 9, "w")
        return notices(study, self.spool, routes(self.settings), lambda _: self.classifier, now().astimezone())

    def study(self) -> dict:
        (row,) = self.store.queries.studies()
        return row

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words], env={"HILUM__STORAGE__DIRECTORY": str(self.directory)})


@pytest.fixture
def line(tmp_path: Path, untrained: dict[str, str]) -> Line:
    """A daemon's parts with a destination that gets reports."""
    environ = {"HILUM__DESTINATION": DESTINATION, "HILUM__STORAGE__DIRECTORY": str(tmp_path), **untrained}
    return Line(tmp_path, read_settings(None, environ))


def image(directory: Path, name: str = "image", **elements: str) -> Path:
    return dx_file(directory / f"{name}.dcm", **{**FIRST, **elements})


def report(outcome: AnalysisOutcome) -> pydicom.Dataset:
    """The one report of an outcome."""
    (made,) = outcome.objects
    return read_dataset(BytesIO(made.data), is_implicit_VR=False, is_little_endian=True)


def test_two_patients_never_share_a_report(line: Line, tmp_path: Path) -> None:
    """The study waits for a person, who says which images belong; the report is then of that patient alone."""
    line.receive(image(tmp_path))
    line.receive(image(tmp_path, PatientID="B", SOPInstanceUID="1.2.3.1.2", AccessionNumber="ACC-B"))
    assert line.analyse() == []
    assert line.study()["state"] == "QUARANTINED"
    assert "2 patients under one Study Instance UID" in line.study()["reason"]
    rows = json.loads(line.run("quarantine", "images", "1.2.3", "--json").stdout)
    assert [(row["patient_id"], row["sop_instance_uid"]) for row in rows] == [
        ("TRAUMA-77", "1.2.3.1.1"),
        ("B", "1.2.3.1.2"),
    ]
    assert line.run("quarantine", "release", "1.2.3", "--patient", "B").exit_code == 0
    (outcome,) = line.analyse()
    assert (line.study()["patient_id"], line.study()["accession_number"]) == ("B", "ACC-B")
    made = report(outcome)
    assert made.PatientID == "B"
    assert "1.2.3.1.1" not in made.to_json()


@pytest.mark.parametrize(("patient_id", "objects"), [("TRAUMA-77", 1), ("B", 0)])
def test_of_two_patients_no_destination_is_told(line: Line, tmp_path: Path, patient_id: str, objects: int) -> None:
    """A destination is told that there is no result, but not where it is unknown under whose name to say it."""
    line.receive(image(tmp_path))
    line.receive(image(tmp_path, PatientID=patient_id, SOPInstanceUID="1.2.3.1.2"))
    assert [made.kind for made in line.told()] == ["sr"] * objects


def test_a_second_patient_after_the_report(line: Line, tmp_path: Path) -> None:
    """The same when the other patient's image comes after the first report: no revised report over both."""
    line.receive(image(tmp_path))
    assert len(line.analyse()) == 1
    line.receive(image(tmp_path, PatientID="B", SOPInstanceUID="1.2.3.1.2"))
    assert line.analyse() == []
    assert line.study()["state"] == "QUARANTINED"
    assert line.run("quarantine", "release", "1.2.3", "--keep", "1.2.3.1.1").exit_code == 0
    assert report(line.analyse()[0]).PatientID == "TRAUMA-77"


def test_what_belongs_to_no_study_is_refused(line: Line, tmp_path: Path) -> None:
    """A Patient ID that none has, or an image of another study, changes nothing."""
    line.receive(image(tmp_path))
    line.receive(image(tmp_path, PatientID="B", SOPInstanceUID="1.2.3.1.2"))
    line.analyse()
    for words in (("--patient", "C"), ("--keep", "9.9.9")):
        done = line.run("quarantine", "release", "1.2.3", *words)
        assert (done.exit_code, "expected images of this study" in done.stderr) == (1, True)
    assert line.study()["state"] == "QUARANTINED"


def test_a_corrected_header_makes_a_revised_report(line: Line, tmp_path: Path) -> None:
    """An emergency patient is reconciled: the same pixels under the right ID. Both objects are kept."""
    line.receive(image(tmp_path))
    (before,) = line.analyse()
    corrected = image(tmp_path, PatientID="A-1", AccessionNumber="ACC9")
    assert line.receive(corrected).status == 0x0000
    (after,) = line.analyse()
    made, earlier = report(after), report(before)
    assert (made.PatientID, made.AccessionNumber) == ("A-1", "ACC9")
    assert made.SOPInstanceUID != earlier.SOPInstanceUID
    assert earlier.SOPInstanceUID in str(made.PredecessorDocumentsSequence)
    assert (line.study()["patient_id"], line.study()["accession_number"]) == ("A-1", "ACC9")
    assert len(list(line.spool.directory.glob("objects/*/*.dcm"))) == 2
    assert line.receive(image(tmp_path)).status == 0x0000, "the emergency's header again"
    assert line.analyse() == []
    assert line.study()["patient_id"] == "A-1"
    assert [e["event"] for e in line.store.queries.events("1.2.3")].count("CORRECTED") == 1
    assert line.store.trail.verify() == []


def test_a_correction_settles_a_study_of_two_patients(line: Line, tmp_path: Path) -> None:
    """The second image comes again with the first one's patient: the study is analysed without a person."""
    line.receive(image(tmp_path))
    line.receive(image(tmp_path, PatientID="B", SOPInstanceUID="1.2.3.1.2"))
    line.analyse()
    line.receive(image(tmp_path, SOPInstanceUID="1.2.3.1.2"))
    (outcome,) = line.analyse()
    assert report(outcome).PatientID == "TRAUMA-77"


@pytest.mark.parametrize("way", ["router", "recompressed"])
def test_the_same_image_in_other_bytes_is_no_news(line: Line, tmp_path: Path, way: str) -> None:
    """Another Retrieve AE Title, or lossless recompression: answered 0000, no work, no security event, no file."""
    first = image(tmp_path)
    line.receive(first)
    line.analyse()
    again = pydicom.dcmread(first)
    if way == "router":
        again.RetrieveAETitle = "ROUTER"
    else:
        again.compress(RLELossless, generate_instance_uid=False)
    again.save_as(tmp_path / "again.dcm")
    assert line.receive(tmp_path / "again.dcm").status == 0x0000
    assert line.analyse() == []
    assert len(list(line.spool.directory.glob("objects/*/*.dcm"))) == 1
    assert not [e for e in line.store.queries.events() if e["event"] == "SECURITY"]


def test_other_pixels_are_a_conflict(line: Line, tmp_path: Path) -> None:
    """One pixel differs: C0D1 and a security event, whatever the header says."""
    first = image(tmp_path)
    line.receive(first)
    other = pydicom.dcmread(first)
    pixels = np.frombuffer(other.PixelData, np.uint16).copy()
    pixels[7] ^= 1
    other.PixelData = pixels.tobytes()
    other.save_as(tmp_path / "other.dcm")
    with pytest.raises(InstanceConflict):
        line.receive(tmp_path / "other.dcm")
    assert [e["event"] for e in line.store.queries.events()].count("SECURITY") == 1
