"""`hilum predict`: what a data scientist sees, and what a program reads."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage
from typer.testing import CliRunner, Result

from daemon.cli.images.sources import Unreadable, sources, told_apart
from daemon.cli.main import app
from daemon.runtime.visible import visible
from dicom_io.phantom.studies import draw_thorax
from dicom_io.results.contour import LINE
from inference.bundle import Bundle, load_bundle
from inference.serving.classifier import Classifier
from inference.serving.contour import centroid
from inference.serving.location import NOT_ABOVE
from inference.training.location.fit_location import fit_location
from tests.dicom_io.test_decode import write
from tests.support.bundles import small_bundle
from tests.support.spots import SQUASHED, marked_spots, picture_with_spot, spot_bundle, without_spot

KEYS = {"file", "analysed", "pathology", "pathology_probability", "most_likely", "findings", "model"}


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return np.asarray(draw_thorax(3, "effusion", 300, 260) >> 4, np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(autouse=True)
def settings(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM__MODEL__BUNDLE", str(bundle.directory))
    monkeypatch.setenv("HILUM__MODEL__DIGEST", bundle.digest)


@pytest.fixture
def folder(tmp_path: Path, drawn: np.ndarray) -> Path:
    """A radiograph as DICOM, PNG and JPEG, two that are cut short, two that are none, and a hand."""
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    write(place / "a.dcm", drawn)
    Image.fromarray(drawn).save(place / "deep/a.png")
    Image.fromarray(drawn).save(place / "b.jpg", quality=95)
    (place / "cut.png").write_bytes((place / "deep/a.png").read_bytes()[:3000])
    (place / "cut.dcm").write_bytes((place / "a.dcm").read_bytes()[:9000])
    write(place / "hand.dcm", drawn, BodyPartExamined="HAND")
    (place / "notes.txt").write_text("nothing to see")
    (place / "empty.dcm").touch()
    return place


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["predict", *map(str, words)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def answers(result: Result) -> dict[str, dict[str, Any]]:
    return {Path(a["file"]).name: a for a in json.loads(result.stdout)}


def test_one_file_is_one_object(folder: Path) -> None:
    """--json of one file is the object that the HTTP interface gives, with its keys and no others."""
    answer = json.loads(run("--json", folder / "a.dcm").stdout)
    assert set(answer) == KEYS
    assert answer["file"] == str(folder / "a.dcm")
    assert answer["analysed"] is True
    assert set(answer["model"]) == {"name", "version", "digest"}
    assert answer["most_likely"] is None, "nobody has shown that a rule of this model beats the commonest label"
    for finding in answer["findings"]:
        assert set(finding) == {"finding", "probability", "threshold", "score", "call"}
        assert finding["call"] in ("above", "below")
        assert 0 <= finding["probability"] <= 1
        assert (finding["score"] >= 50) == (finding["call"] == "above")
    above = [finding for finding in answer["findings"] if finding["call"] == "above"]
    assert answer["pathology"] is (True if above else None)


def test_a_folder(folder: Path) -> None:
    """Every image at any depth gets an answer or a reason, in order; a text file is passed over; the status is 1."""
    found = answers(run("--json", folder, status=1))
    assert list(found) == ["a.dcm", "b.jpg", "cut.dcm", "cut.png", "a.png", "empty.dcm", "hand.dcm"]
    assert [name for name, a in found.items() if a["analysed"]] == ["a.dcm", "b.jpg", "a.png"]
    assert "truncated" in found["cut.png"]["reason"]
    assert "bytes" in found["cut.dcm"]["reason"]
    assert found["hand.dcm"]["reason"] == "another part: hand (Body Part Examined)"
    assert found["empty.dcm"]["reason"] == "neither DICOM, PNG nor JPEG"
    assert set(found["cut.png"]) == {"file", "analysed", "reason", "model"}


def test_the_same_radiograph_gives_the_same_answer(folder: Path) -> None:
    """DICOM and PNG of one picture: the same probabilities to the last digit; JPEG's are close."""
    found = answers(run("--json", folder / "a.dcm", folder / "deep/a.png", folder / "b.jpg"))
    assert found["a.dcm"]["findings"] == found["a.png"]["findings"]
    near = [f["probability"] for f in found["b.jpg"]["findings"]]
    assert near == pytest.approx([f["probability"] for f in found["a.dcm"]["findings"]], abs=0.05)


def test_a_table(folder: Path) -> None:
    """Without --json a person reads a table; a file that was named gets its reason, whatever it is."""
    result = run(folder / "a.dcm", folder / "notes.txt", status=1)
    assert "a.dcm" in result.stdout
    said = " ".join(result.stdout.split())
    assert "neither DICOM, PNG nor JPEG" in said
    assert said.endswith("Nobody has measured how often the calls of this model are right.")


@pytest.mark.parametrize("words", [(), ("--method", "occlusion")], ids=["cam", "occlusion"])
def test_a_model_that_was_never_compared_gives_no_location(
    folder: Path, tmp_path: Path, words: Sequence[str], bundle: Bundle
) -> None:
    """--explain says of each finding why it has no location, in JSON and in words, and writes no picture."""
    out = tmp_path / "out"
    found = answers(run("--json", "--explain", out, *words, folder / "a.dcm", folder / "deep/a.png"))
    for row in (row for answer in found.values() for row in answer["findings"]):
        assert row["location"] is None
        compared = "were never compared with boxes" in row["location_reason"]
        assert compared == (row["call"] == "above") or row["location_reason"] == NOT_ABOVE
    assert not out.exists()
    above = [row["finding"] for row in found["a.dcm"]["findings"] if row["call"] == "above"]
    spoken = run("--explain", out, *words, folder / "a.dcm").stdout.replace("\n", " ")
    assert spoken.count("no location given") == len(above)


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model that sees bright spots, and whose maps were compared with boxes around some."""
    directory = tmp_path_factory.mktemp("bundle") / "spots"
    classifier = Classifier(spot_bundle(directory, SQUASHED), "torch")
    fit_location(classifier, without_spot(20), marked_spots(40), "drawn spots")
    return load_bundle(directory)


@pytest.mark.parametrize("size", [(300, 260), (2100, 2300)], ids=["as it is", "reduced"])
@pytest.mark.parametrize("stated", ["L\\F", "R\\F", "F\\L", "H\\R", None])
def test_a_location_is_in_pixels_of_the_file(
    spots: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None, size: tuple[int, int]
) -> None:
    """However the file is turned and reduced, the polygon lies on the spot as it is stored."""
    monkeypatch.setenv("HILUM__MODEL__BUNDLE", str(spots.directory))
    monkeypatch.setenv("HILUM__MODEL__DIGEST", spots.digest)
    rows, columns = size
    x, y, radius = 0.3 * columns, 0.6 * rows, min(size) / 6
    pixels = np.asarray(255 * picture_with_spot(rows, columns, x, y, radius), np.uint8)
    write(tmp_path / "spot.dcm", pixels, PatientOrientation=stated)
    answer = json.loads(run("--json", "--explain", tmp_path / "out", tmp_path / "spot.dcm").stdout)
    (row,) = [row for row in answer["findings"] if row["finding"] == "Mass"]
    assert "location_reason" not in row
    (polygon,) = row["location"]
    assert np.hypot(*(np.array(centroid(np.array(polygon))) - (x, y))) < 0.6 * radius
    with Image.open(tmp_path / "out/spot-Mass.png") as written:
        assert (np.abs(np.asarray(written).astype(int) - LINE) <= 2).all(axis=2).any()


def test_refused_images_have_no_location(folder: Path, tmp_path: Path) -> None:
    """What was not analysed has nothing to explain."""
    run("--explain", tmp_path / "out", folder / "hand.dcm", status=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--json", "--method=cam"])
def test_a_folder_without_an_image_is_named(folder: Path, option: str) -> None:
    """An empty folder, and one with nothing but other files: a sentence on standard error, no empty table, status 1."""
    for name, file in (("empty", ""), ("texts", "deep/notes.txt")):
        (folder / name).mkdir()
        if file:
            (folder / name / file).parent.mkdir()
            (folder / name / file).write_text("nothing to see")
        done = run(option, folder / name, status=1)
        assert done.stderr == f"{folder / name}: this folder holds no DICOM, PNG or JPEG file\n"
        assert done.stdout.strip() == ("[]" if option == "--json" else "")
    done = run(option, folder / "a.dcm", folder / "empty", status=1)
    assert "empty: this folder holds no" in done.stderr
    assert "a.dcm" in done.stdout


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_gets_its_reason(folder: Path) -> None:
    """It does not end the command; the others get their answers."""
    (folder / "b.jpg").chmod(0)
    found = answers(run("--json", folder / "b.jpg", folder / "a.dcm", status=1))
    assert found["b.jpg"]["reason"] == "the file cannot be read: Permission denied"
    assert found["a.dcm"]["analysed"]


@pytest.mark.parametrize(
    "name", ["[bold]x", "[red]y", "a\x1b[31m\nb", "\u202ea", "=1", b"\xff\x9b".decode("utf-8", "surrogateescape")]
)
def test_the_name_of_a_file_is_data(folder: Path, name: str) -> None:
    """A table shows it as it is and without what steers a terminal; JSON holds it exactly; so for folders."""
    file = folder / name / f"{name}.dcm"
    file.parent.mkdir()
    (folder / "a.dcm").rename(file)
    table = run(file.parent).stdout
    assert visible(file.name) in table.replace("\n", "") or len(visible(file.name)) > 20
    assert all(c.isprintable() for line in table.splitlines() for c in line)
    assert json.loads(run("--json", file).stdout)["file"] == str(file)


def test_what_is_asked_for_wrongly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there, a grid that is none: status 2. A model that cannot run: status 2 and a sentence."""
    assert run(folder / "absent.dcm", status=2).stderr == f"{folder}/absent.dcm: there is no such file or folder\n"
    os.mkfifo(folder / "pipe.dcm")
    assert run(folder / "pipe.dcm", status=2).stderr == f"{folder}/pipe.dcm: is neither a file nor a folder\n"
    assert "a" * 300 in run(folder / ("a" * 300), status=2).stderr
    run("--explain", folder / "a.dcm", folder / "b.jpg", status=2)
    run("--precision", "extreme", folder / "a.dcm", status=2)
    monkeypatch.setenv("HILUM__MODEL__DIGEST", "sha256:" + "0" * 64)
    assert "is pinned" in run(folder / "a.dcm", status=2).stderr
    monkeypatch.delenv("HILUM__MODEL__DIGEST")
    assert "model.digest is empty" in run(folder / "a.dcm", status=2).stderr


def test_archives_and_discs(folder: Path, tmp_path: Path, drawn: np.ndarray) -> None:
    """A ZIP archive is looked into, named or in a folder; a DICOMDIR stands for the files that it names."""
    with ZipFile(tmp_path / "in/pack.zip", "w") as archive:
        archive.write(folder / "a.dcm", "disc/IM1")
        archive.write(folder / "deep/a.png", "two/a.png")
        archive.writestr("two/readme.txt", "nothing")
    packed = {a["file"]: a for a in json.loads(run("--json", tmp_path / "in/pack.zip").stdout)}
    assert set(packed) == {f"{tmp_path}/in/pack.zip/disc/IM1", f"{tmp_path}/in/pack.zip/two/a.png"}
    plain = json.loads(run("--json", folder / "a.dcm").stdout)
    assert packed[f"{tmp_path}/in/pack.zip/disc/IM1"] | {"file": ""} == plain | {"file": ""}
    assert set(packed) <= {a["file"] for a in json.loads(run("--json", folder, status=1).stdout)}
    disc = tmp_path / "disc"
    (disc / "D").mkdir(parents=True)
    (disc / "D/IM1").write_bytes((folder / "a.dcm").read_bytes())
    write_dicomdir(disc / "DICOMDIR", [["D", "IM1"], ["..", "in"], None])
    assert [a["file"] for a in json.loads(run("--json", disc / "DICOMDIR").stdout)] == [f"{disc}/D/IM1"]
    assert [a["file"] for a in json.loads(run("--json", disc).stdout)] == [f"{disc}/D/IM1"]
    with ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert "this archive holds no DICOM, PNG or JPEG file" in run(tmp_path / "none.zip", status=1).stderr


def write_dicomdir(path: Path, files: Sequence[list[str] | None]) -> None:
    """Write a DICOMDIR with a record for each entry: the parts of its Referenced File ID, or none."""
    records = [Dataset() for _ in files]
    for record, parts in zip(records, files, strict=True):
        record.DirectoryRecordType = "IMAGE" if parts else "PATIENT"
        if parts:
            record.ReferencedFileID = parts
    ds = Dataset()
    ds.DirectoryRecordSequence = records
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = MediaStorageDirectoryStorage, "1.2"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def test_an_archive_that_is_damaged_or_swells_is_said(folder: Path, tmp_path: Path) -> None:
    """A member whose bytes are wrong, and one that is larger than an object may be, are named with the reason."""
    whole = tmp_path / "whole.zip"
    with ZipFile(whole, "w") as archive:
        archive.write(folder / "deep/a.png", "a.png")
    content = bytearray(whole.read_bytes())
    content[200] ^= 0xFF
    (tmp_path / "cut.zip").write_bytes(content)
    answer = json.loads(run("--json", tmp_path / "cut.zip", status=1).stdout)[0]
    assert "cannot be taken out of the archive" in answer["reason"]
    (small,) = sources([whole])
    with pytest.raises(Unreadable, match="more than 100 bytes"), small.opened(100):
        pass


def test_answers_come_line_by_line(folder: Path) -> None:
    """--jsonl prints what --json prints, an object on each line, as soon as it is there."""
    lines = run("--jsonl", folder, status=1).stdout.splitlines()
    assert [json.loads(line) for line in lines] == json.loads(run("--json", folder, status=1).stdout)


def test_files_of_one_name_are_told_apart(folder: Path) -> None:
    """The table names files of one name by as many folders as it takes."""
    assert told_apart(["/x/a/1.png", "/x/b/1.png", "/x/b/2.png"]) == ["a/1.png", "b/1.png", "2.png"]
    assert told_apart(["1.png", "a/1.png"]) == ["1.png", "a/1.png"]
    (folder / "other").mkdir()
    (folder / "other/a.png").write_bytes((folder / "deep/a.png").read_bytes())
    table = run(folder, status=1).stdout
    assert "deep/a.png" in table
    assert "other/a.png" in table


def test_the_contact_sheet(folder: Path, tmp_path: Path) -> None:
    """All pictures that were looked at are in one PNG file, three in a row."""
    run("--contact-sheet", tmp_path / "sheet.png", folder, status=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * 310 - 10
        assert sheet.height == 340
        assert np.asarray(sheet)[40:, :300].std() > 20
    run("--contact-sheet", tmp_path / "no/sheet.png", folder / "a.dcm", status=2)
