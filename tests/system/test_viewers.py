"""Every kind of result in a real archive, and what a radiologist sees of them in OHIF."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from dicom_io.identity import derived_uid
from dicom_io.phantom.studies import drawn_study
from inference.bundle import PACKAGED, load_bundle
from tests.conftest import require, wait_for
from tests.support.browser import browser
from tests.support.bundles import as_settings
from tests.support.harness import Daemon, sink
from tests.support.ohif import Reader, ohif, site
from tests.support.peers import Orthanc, free_port, orthanc, run
from tests.support.validators import iod_errors

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LEAST_TYPE = 24  # pixels of the page
STUDIES = {name: derived_uid("test_viewers", name) for name in ("finding", "none", "failure")}
KINDS = {"SR": "sr", "OT": "sc", "PR": "gsps", "KO": "kos", "DOC": "pdf"}  # by Modality


@dataclass(frozen=True)
class Archive:
    """An archive that holds a radiograph with a finding, one without, one that is no picture, and their results."""

    pacs: Orthanc

    def results(self, study: str) -> list[Dataset]:
        """What a study holds beside the radiograph."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": STUDIES[study], "Modality": "\\".join(KINDS)}}
        return [dcmread(BytesIO(self.file(found))) for found in self.pacs.get("/tools/find", query)]

    def file(self, instance: str) -> bytes:
        """An instance by Orthanc's own name for it."""
        return httpx.get(f"http://127.0.0.1:{self.pacs.http}/instances/{instance}/file", trust_env=False).content

    def kinds(self, study: str) -> Counter[str]:
        return Counter(KINDS[result.Modality] for result in self.results(study))


def radiographs(directory: Path) -> list[Path]:
    """A drawing with a mass, one without a finding, and one whose pixels are all alike."""
    found = []
    for seed, (name, finding) in enumerate({"finding": "mass", "none": "none", "failure": "none"}.items(), start=4):
        ds = dcmread(BytesIO(drawn_study(seed, finding, 1250, 1024).data))
        ds.StudyInstanceUID = STUDIES[name]
        ds.PatientID = ds.AccessionNumber = name.upper()
        if name == "failure":
            ds.PixelData = bytes(len(ds.PixelData))
        found.append(directory / f"{name}.dcm")
        ds.save_as(found[-1])
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The daemon's results of the three studies, in an Orthanc that serves DICOMweb."""
    require("Orthanc", "dcmsend")
    directory = tmp_path_factory.mktemp("viewers")
    files, plugins = radiographs(directory), [str(DICOMWEB)] if DICOMWEB.exists() else []
    bundle = as_settings(load_bundle(PACKAGED / "phantom"))
    with orthanc(directory / "orthanc", free_port(), Plugins=plugins) as pacs:
        wanted = sink("pacs", pacs.port, ae_title="ORTHANC", outputs=list(KINDS.values()))
        with Daemon(directory / "hilum", [wanted], **bundle) as daemon:
            run("dcmsend", "-aec", "ORTHANC", "127.0.0.1", str(pacs.port), *files)
            run("dcmsend", "-aec", "HILUM", "127.0.0.1", str(daemon.port), *files)
            wait_for(lambda: daemon.states() == {"DELIVERED": 3}, 120, "the results of three studies")
        yield Archive(pacs)


def test_every_kind_of_result_reaches_the_archive(archive: Archive, tmp_path: Path) -> None:
    """A finding brings all kinds, a radiograph without one no overlay and no key images, and all are valid there."""
    assert archive.kinds("finding") == dict.fromkeys(KINDS.values(), 1)
    assert archive.kinds("none") == archive.kinds("failure") == {"sr": 1, "sc": 1, "pdf": 1}
    files = []
    for number, result in enumerate(result for study in STUDIES for result in archive.results(study)):
        files.append(tmp_path / f"{number}.dcm")
        result.save_as(files[-1])
    assert iod_errors(*files) == []


def test_dcmtk_lays_the_overlay_over_the_radiograph(archive: Archive, tmp_path: Path) -> None:
    """The presentation state that the archive has fits the radiograph that the archive has."""
    require("dcmp2pgm")
    (state,) = [result for result in archive.results("finding") if result.Modality == "PR"]
    (named,) = state.ReferencedSeriesSequence[0].ReferencedImageSequence
    (radiograph,) = archive.pacs.get("/tools/find", {
        "Level": "Instance", "Query": {"SOPInstanceUID": named.ReferencedSOPInstanceUID}
    })  # fmt: skip
    (tmp_path / "dx.dcm").write_bytes(archive.file(radiograph))
    state.save_as(tmp_path / "pr.dcm")
    done = run("dcmp2pgm", "-p", tmp_path / "pr.dcm", tmp_path / "dx.dcm", tmp_path / "shown.pgm")
    assert done.returncode == 0, done.stdout
    assert "Mass: above threshold" in state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue


@dataclass(frozen=True)
class Seen:
    """What somebody saw of a study in OHIF, in a window of 1600 x 1000 pixels."""

    tiles: dict[str, dict[str, Any]]
    report: list[str]
    columns: int
    scale: float

    @property
    def caption(self) -> str:
        """What the tile of the page shows before it cuts off."""
        return str(self.tiles["OT"]["description"])[:18]


@pytest.fixture(scope="module")
def seen(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Each study opened once: its tiles, the text of its report, and how large its page is drawn.

    HILUM_PICTURES names a folder for pictures of the window.
    """
    require("chromium", "chromedriver")
    try:
        missing = "" if DICOMWEB.exists() and site() else str(DICOMWEB)
    except httpx.HTTPError as error:
        missing = f"OHIF, which is to come from npm ({error})"
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"not installed: {missing}")
    pictures = Path(os.environ.get("HILUM_PICTURES") or tmp_path_factory.mktemp("pictures"))
    with ohif(archive.pacs.http) as url, browser() as chrome:
        reader = Reader(chrome, url)
        reader.arrive()
        return {study: read(reader, archive, study, pictures) for study in STUDIES}


def read(reader: Reader, archive: Archive, study: str, pictures: Path) -> Seen:
    (page,) = [result for result in archive.results(study) if result.Modality == "OT"]
    tiles = {tile["modality"]: tile for tile in reader.open_study(STUDIES[study], 1 + len(archive.results(study)))}
    reader.show(tiles["SR"], lambda: len(reader.lines()) > 12)
    report = reader.lines()
    keep(reader.browser.picture(), pictures / f"ohif-{study}-report.png")
    reader.show(tiles["OT"], lambda: reader.image()[0] == page.Columns)
    keep(reader.browser.picture(), pictures / f"ohif-{study}-page.png")
    return Seen(tiles, report, *reader.image())


def keep(picture: bytes, file: Path) -> None:
    """Write a picture of the window as the documentation has it: in 1040 x 650 pixels, and under 300 KB."""
    window = Image.open(BytesIO(picture)).convert("RGB")
    window.resize((1040, 650), Image.Resampling.LANCZOS).save(file, optimize=True)
    assert file.stat().st_size < 300_000


def test_the_kinds_that_ohif_opens(seen: dict[str, Seen]) -> None:
    """Report, picture and document can be opened; overlay and key images are listed with a sign."""
    unsupported = {modality for modality, tile in seen["finding"].tiles.items() if tile["unsupported"]}
    assert seen["finding"].tiles.keys() == KINDS.keys() | {"DX"}
    assert unsupported == {"PR", "KO"}


def test_the_tiles_tell_the_answers_apart(seen: dict[str, Seen]) -> None:
    """The first 18 characters, which a tile shows, say whether there is a finding, none, or no result."""
    captions = {study: each.caption for study, each in seen.items()}
    assert len(set(captions.values())) == 3, captions


@pytest.mark.parametrize(("study", "said"), [("finding", "above threshold"), ("none", "no finding above")])
def test_the_report_begins_with_the_answer(seen: dict[str, Seen], study: str, said: str) -> None:
    """What a radiologist looks for stands within the first twelve lines of the report."""
    assert said in "\n".join(seen[study].report[:12]).lower()


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_can_be_read(seen: dict[str, Seen], study: str) -> None:
    """The smallest type on the page is 12 pixels high at least where one series fills the window."""
    assert LEAST_TYPE * seen[study].scale >= 12
