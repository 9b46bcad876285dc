"""Every kind of result in a real archive, and what a radiologist sees of them in OHIF."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from daemon import outputs
from dicom_io.identity import derived_uid
from inference.bundle import load_bundle
from inference.serving.classifier import Classifier
from inference.training.location.fit_location import fit_location
from tests.conftest import require, wait_for
from tests.support.browser import browser
from tests.support.bundles import as_settings
from tests.support.harness import Daemon, sink
from tests.support.ohif import Reader, ohif
from tests.support.peers import Orthanc, dx_file, free_port, orthanc, run
from tests.support.spots import SQUASHED, marked_spots, picture_with_spot, spot_bundle, without_spot
from tests.support.validators import iod_errors

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LEAST_TYPE = 24  # pixels of a page
STUDIES = {name: derived_uid("test_viewers", name) for name in ("finding", "none", "failure")}
KINDS = {"SR": "sr", "OT": "sc", "PR": "gsps", "KO": "kos", "DOC": "pdf"}  # by Modality


@dataclass(frozen=True)
class Archive:
    """An archive that holds a radiograph with a finding, one without, one that is no picture, and their results."""

    pacs: Orthanc

    def results(self, study: str) -> list[Dataset]:
        """What a study holds beside the radiograph."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": STUDIES[study], "Modality": "\\".join(KINDS)}}
        files = (f"http://127.0.0.1:{self.pacs.http}/instances/{i}/file" for i in self.pacs.get("/tools/find", query))
        return [dcmread(BytesIO(httpx.get(file, trust_env=False).content)) for file in files]

    def kinds(self, study: str) -> Counter[str]:
        return Counter(KINDS[result.Modality] for result in self.results(study))


def radiograph(path: Path, name: str, brightness: np.ndarray) -> Path:
    pixels = np.rint(4095 * brightness).astype(np.uint16)
    return dx_file(
        path / f"{name}.dcm", *pixels.shape, PixelData=pixels.tobytes(), StudyInstanceUID=STUDIES[name],
        PatientName=f"Phantom^{name}", PatientID=name, StudyDate="20260102", StudyTime="100000", StudyID="1",
        PatientBirthDate="19600101", AccessionNumber=name, StudyDescription="Chest PA", PatientOrientation=["L", "F"],
        WindowCenter=2048, WindowWidth=4096, ViewPosition="PA", BodyPartExamined="CHEST", SeriesNumber=1,
        InstanceNumber=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The daemon's results of the three studies, in an Orthanc that serves DICOMweb."""
    require("Orthanc", "dcmsend")
    directory = tmp_path_factory.mktemp("viewers")
    bundle = spot_bundle(directory / "bundle", SQUASHED)
    fit_location(Classifier(bundle, "torch"), without_spot(20), marked_spots(40), "spots")
    files = [
        radiograph(directory, "finding", picture_with_spot(480, 400, 120, 300, 64)),
        radiograph(directory, "none", picture_with_spot(480, 400, -90, 0, 1)),
        radiograph(directory, "failure", np.full((480, 400), 0.5)),
    ]
    plugins = [str(DICOMWEB)] if DICOMWEB.exists() else []
    with orthanc(directory / "orthanc", free_port(), Plugins=plugins) as pacs:
        wanted = sink("pacs", pacs.port, ae_title="ORTHANC", outputs=list(outputs.MODULES))
        with Daemon(directory / "hilum", [wanted], **as_settings(load_bundle(bundle.directory))) as daemon:
            run("dcmsend", "-aec", "ORTHANC", "127.0.0.1", str(pacs.port), *files)
            run("dcmsend", "-aec", "HILUM", "127.0.0.1", str(daemon.port), *files)
            wait_for(lambda: daemon.states() == {"DELIVERED": 3}, 90, f"three results, there are {daemon.states()}")
        yield Archive(pacs)


def test_every_kind_of_result_reaches_the_archive(archive: Archive, tmp_path: Path) -> None:
    """A finding brings all kinds, a radiograph without one no overlay and no key images, and all are valid there."""
    assert archive.kinds("finding") == dict.fromkeys(outputs.MODULES, 1)
    assert archive.kinds("none") == archive.kinds("failure") == {"sr": 1, "sc": 1, "pdf": 1}
    files = []
    for number, result in enumerate(result for study in STUDIES for result in archive.results(study)):
        files.append(tmp_path / f"{number}.dcm")
        result.save_as(files[-1])
    assert iod_errors(*files) == []


def test_the_overlay_is_at_the_spot(archive: Archive, tmp_path: Path) -> None:
    """The contour lies around the spot, in pixels of the radiograph that the archive has."""
    (state,) = [result for result in archive.results("finding") if result.Modality == "PR"]
    (line,) = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    x, y = np.array(line.GraphicData).reshape(-1, 2).mean(axis=0)
    assert np.hypot(x - 120, y - 300) < 40


@pytest.fixture(scope="module")
def reader(archive: Archive) -> Iterator[Reader]:
    """Somebody at a window of 1600 x 1000 pixels."""
    require("chromium", "chromedriver")
    if not DICOMWEB.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"not installed: {DICOMWEB}")
    with ohif(archive.pacs.http) as url, browser() as chrome:
        yield Reader(chrome, url)


def tile(reader: Reader, archive: Archive, study: str, modality: str) -> dict[str, str]:
    """Open a study in OHIF; its tile of a kind."""
    tiles = reader.open_study(STUDIES[study], 1 + len(archive.results(study)))
    (found,) = [each for each in tiles if each["modality"] == modality]
    return found


def test_the_tiles_tell_the_answers_apart(reader: Reader, archive: Archive) -> None:
    """The first 18 characters, which a tile shows, say whether there is a finding, none, or no result."""
    captions = {study: tile(reader, archive, study, "OT")["description"][:18] for study in STUDIES}
    assert len(set(captions.values())) == 3, captions


@pytest.mark.parametrize(("study", "said"), [("finding", "above threshold"), ("none", "no finding above")])
def test_the_report_begins_with_the_answer(reader: Reader, archive: Archive, study: str, said: str) -> None:
    """What a radiologist looks for stands within the first twelve lines of the report."""
    reader.show(tile(reader, archive, study, "SR"))
    wait_for(lambda: len(reader.lines()) > 12, 30, "the report's text in OHIF")
    assert said in "\n".join(reader.lines()[:12]).lower()


def test_the_page_can_be_read(reader: Reader, archive: Archive) -> None:
    """The smallest type on the page is 12 pixels high at least where one series fills the window."""
    (page,) = [result for result in archive.results("finding") if result.Modality == "OT"]
    reader.show(tile(reader, archive, "finding", "OT"))
    wait_for(lambda: reader.image()[0] == page.Columns, 30, f"the page in OHIF, there is {reader.image()}")
    assert LEAST_TYPE * reader.image()[1] >= 12
