"""From files to pages: what the pipeline hands to the page of each image."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from config.settings import Settings
from daemon import pipeline, translate
from daemon.analysis import answers
from daemon.analysis.examined import ExaminedImage, ModelOpinion
from daemon.analysis.routing import routes
from daemon.wiring import open_classifier, read_settings
from dicom_io.composite.analysis import Analysis
from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.selection import select
from dicom_io.phantom.thorax import BITS, draw_thorax
from dicom_io.results.language import Language
from dicom_io.results.page import sheet
from dicom_io.results.page.content import pages
from dicom_io.results.wording import not_analysed
from inference.serving.classifier import Classifier
from storage.analyses import ResultObject
from storage.records import Instance, Study
from tests.dicom_io.test_decode import write
from tests.support.sample_pages import coloured, picture_of, reading, words
from tests.support.selection import rules

NOW = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
CHEST: dict[str, Any] = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientAge": "050Y"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Classifier]:
    """The packaged bundle, and a destination that takes pages alone."""
    destination = '[{"name": "pacs", "ae_title": "A", "host": "h", "port": 1, "outputs": ["sc"]}]'
    directory = str(tmp_path_factory.mktemp("storage"))
    settings = read_settings(None, {"HILUM__DESTINATION": destination, "HILUM__STORAGE__DIRECTORY": directory})
    return settings, open_classifier(settings)


def examined(path: Path, number: int = 1) -> ExaminedImage:
    """A file as the pipeline selects and decodes it."""
    header = read_header(path)
    instance = Instance(number, header.sop_class_uid, header.sop_instance_uid, "1.1", "1.2", "n", "s")
    verdict = select(header, rules())
    if not verdict.eligible:
        return ExaminedImage(instance, header, "ignored", verdict.reason, sign=verdict.sign)
    try:
        pixels = decode(path, size_hint=pipeline.SIZE_HINT, header=header)
    except NoPicture as refusal:
        return ExaminedImage(instance, header, "refused", str(refusal))
    return ExaminedImage(instance, header, "analysed", pixels=pixels, remark=verdict.remark)


def concluded(images: Sequence[ExaminedImage], world: tuple[Settings, Classifier]) -> list[ResultObject]:
    settings, classifier = world
    study = Study(1, "1.2.3", 1, 1, NOW, tuple(image.instance for image in images))
    (classified,) = pipeline.classify([tuple(images)], classifier, 8)
    opinion = ModelOpinion(routes(settings)[0], classifier, classified)
    return list(pipeline.conclude(study, [opinion], settings, NOW).objects)


def named(images: Sequence[ExaminedImage], world: tuple[Settings, Classifier]) -> Analysis:
    """What the pages are made from."""
    settings, classifier = world
    (classified,) = pipeline.classify([tuple(images)], classifier, 8)
    told = answers._answered([i for i in classified if i.verdict != "ignored"], classified, settings.destination)
    sources = tuple(answers._source_image(image, classifier) for image in told[0][0])
    return Analysis(sources, translate.model_identity(classifier), NOW)


def pixels_of(made: ResultObject) -> np.ndarray:
    ds = dcmread(BytesIO(made.data), force=True)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    return np.asarray(Image.open(BytesIO(frame)).convert("RGB"), int)


def chest(seed: int = 3) -> np.ndarray:
    return np.asarray(draw_thorax(seed, "effusion", 500, 420) >> (BITS - 8), np.uint8)


def test_one_image_hung_either_way_gives_one_page(
    tmp_path: Path, world: tuple[Settings, Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored as R\\F or as L\\F, an image has the same picture, mark, findings and words; one was flipped for it."""
    shown, said = [], []
    for orientation, pixels in {"L\\F": chest(), "R\\F": chest()[:, ::-1]}.items():
        path = write(tmp_path / "a.dcm", np.ascontiguousarray(pixels), PatientOrientation=orientation, **CHEST)
        (page,) = pages(named([examined(path)], world), Language("en"))
        shown.append(picture_of(page))
        said.append(words(page, monkeypatch))
    assert shown[0] == shown[1]
    assert " L " in said[0]
    assert said[0] == said[1].replace("flipped for display ", "")
    assert said[0] != said[1]


def test_two_frontal_images_get_two_pages(tmp_path: Path, world: tuple[Settings, Classifier]) -> None:
    """Each shows its own picture, in one series; the words under which they were drawn are those of each alone."""
    files = [write(tmp_path / f"{seed}.dcm", chest(seed), **CHEST, SOPInstanceUID=generate_uid()) for seed in (3, 4)]
    images = [examined(path, number) for number, path in enumerate(files, 1)]
    both = concluded(images, world)
    assert [page.kind for page in both] == ["sc", "sc"]
    datasets = [dcmread(BytesIO(page.data), force=True) for page in both]
    assert [ds.InstanceNumber for ds in datasets] == [1, 2]
    assert len({ds.SeriesInstanceUID for ds in datasets}) == 1
    area = np.s_[sheet.TOP + 20 : sheet.TOP + 940, sheet.LEFT + 100 : sheet.LEFT + 700]
    for page, image in zip(both, images, strict=True):
        (alone,) = concluded([image], world)
        assert np.abs(pixels_of(page)[area] - pixels_of(alone)[area]).mean() < 3
    assert np.abs(pixels_of(both[0])[area] - pixels_of(both[1])[area]).mean() > 6


def test_a_lateral_is_named_and_a_result_is_not(
    tmp_path: Path, world: tuple[Settings, Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PA and lateral: one page, which names the lateral; another program's result in the study is passed over."""
    lateral = write(tmp_path / "b.dcm", chest(), **CHEST | {"ViewPosition": "LL"}, SOPInstanceUID=generate_uid())
    result = write(
        tmp_path / "c.dcm", chest(), Modality="OT", SOPClassUID=SecondaryCaptureImageStorage, Manufacturer="hilum",
        SOPInstanceUID=generate_uid(),
    )  # fmt: skip
    files = [write(tmp_path / "a.dcm", chest(), **CHEST, SOPInstanceUID=generate_uid()), lateral, result]
    analysis = named([examined(path, number) for number, path in enumerate(files, 1)], world)
    (page,) = pages(analysis, Language("en"))
    said = words(page, monkeypatch)
    assert "Chest PA, image 1 of 2" in said
    assert "Image 2 (lateral) was not analysed: the model reads frontal images only." in said


@pytest.mark.parametrize(("elements", "expected"), [
    ({"PatientAge": "012Y"}, "Not analysed: patient younger than 18 years."),
    ({"ViewPosition": "LL"}, "Not analysed (lateral): the model reads frontal images only."),
    ({"BodyPartExamined": "HAND"}, "Not analysed: does not show the chest alone."),
    ({"PatientSpeciesDescription": "Canine"}, "Not analysed: not a human patient."),
    ({"PatientBirthDate": "20250101", "StudyDate": "20260101"}, "contradict each other"),
    ({"Modality": "CT"}, "Not analysed: not a radiograph."),
    ({"NumberOfFrames": "2"}, "Not analysed: more than one picture in the file."),
])  # fmt: skip
def test_reasons_are_in_the_readers_words(
    elements: dict[str, Any], expected: str, tmp_path: Path, world: tuple[Settings, Classifier]
) -> None:
    """What the header or the file lacks is said in a radiologist's words, and in French in French."""
    image = examined(write(tmp_path / "a.dcm", chest(), **CHEST | elements))
    assert image.reason
    source = answers._source_image(image, world[1])
    (said,), (french,) = (not_analysed([source], Language(code)) for code in ("en", "fr"))
    assert expected in said
    assert french.startswith("Non analysé")
    assert french != said


def test_a_truncated_file_is_to_be_sent_again(tmp_path: Path, world: tuple[Settings, Classifier]) -> None:
    """The radiologist reads what to do, and no number of bytes."""
    path = write(tmp_path / "a.dcm", chest(), **CHEST)
    path.write_bytes(path.read_bytes()[:-9000])
    source = answers._source_image(examined(path), world[1])
    assert not_analysed([source], Language("en")) == ["Not analysed: the image file is incomplete. Send it again."]


def test_a_finding_has_a_contour_or_the_words(
    shared: Path, tmp_path: Path, world: tuple[Settings, Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a real radiograph says "no location given" where a finding is above and has no contour."""
    header = read_header(write(tmp_path / "a.dcm", chest(), **CHEST))
    instance = Instance(1, header.sop_class_uid, header.sop_instance_uid, "1.1", "1.2", "n", "s")
    for file in sorted((shared / "data/nih1024").glob("*.png"))[:12]:
        pixels = np.asarray(Image.open(file).convert("L"), np.float32) / 255
        image = ExaminedImage(instance, header, "analysed", pixels=pixels)
        (page,) = pages(named([image], world), Language("en"))
        location = page.location()
        with reading(monkeypatch) as lines:
            colour = coloured(picture_of(page))
        said = " ".join(line.text for line in lines)
        assert bool(location) == bool(page.above)
        outlined = bool(location and location.polygons)
        assert bool(colour.any()) == outlined
        assert ("No location given" in said) == (bool(page.above) and not outlined)
