"""The segmentation object: the outlined structures, over the radiograph that they were found in."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_io.composite.analysis import Analysis, SourceImage
from dicom_io.composite.codes import UnknownFinding
from dicom_io.composite.options import ReportOptions
from dicom_io.composite.structures import Mask, OutlinedStructure, check_structures
from dicom_io.results.outlines.segmentation import KIND, segmentations
from dicom_io.results.report import structured_report
from tests.conftest import require
from tests.support.sample_results import FAILED, FOUND, MODEL, STARTED, header, part10, read, save
from tests.support.validators import iod_errors

SIZE = (301, 203)  # odd, so that a frame ends within a byte


def masks() -> list[Mask]:
    right, left, opacities = (np.zeros(SIZE, bool) for _ in range(3))
    right[40:250, 20:90] = True
    left[40:250, 110:180] = True
    opacities[60:80, 30:50] = opacities[100:131, 120:151] = True
    return [right, left, opacities]


def outlined_image(number: int = 1, **values: Any) -> SourceImage:
    labels, counts = ("Right lung", "Left lung", "Round opacity"), (None, None, 2)
    outlined = tuple(
        OutlinedStructure(label, mask, int(mask.sum()), count, 0.1, stored=lambda mask=mask: mask)  # type: ignore[misc]
        for label, mask, count in zip(labels, masks(), counts, strict=True)
    )
    dataset = header(number, Rows=SIZE[0], Columns=SIZE[1], **values)
    return replace(FOUND, dataset=dataset, findings=(), pathology=None, outlined=outlined)


def made(image: SourceImage) -> Any:
    (encoded,) = segmentations(Analysis((image,), MODEL, STARTED))
    return encoded


@pytest.mark.parametrize(
    "values",
    [{}, {"PatientName": None, "StudyDate": "x", "PatientSex": "?", "StudyID": None}, {"LossyImageCompression": "01"}],
    ids=["plain", "dirty", "lossy"],
)
def test_dciodvfy_finds_no_error(values: dict[str, Any], tmp_path: Path) -> None:
    """A segmentation is a valid instance of its IOD, also from a header with faults."""
    assert iod_errors(save(made(outlined_image(**values)), tmp_path / "seg.dcm")) == []


def test_another_implementation_reads_every_pixel(tmp_path: Path) -> None:
    """highdicom gives back the masks bit for bit, and names what they show and on which image."""
    seg = highdicom.seg.segread(save(made(outlined_image()), tmp_path / "seg.dcm"))
    (image,) = seg.get_source_image_uids()
    assert image[2] == outlined_image().dataset.SOPInstanceUID
    found = seg.get_pixels_by_source_instance([image[2]])
    assert found.shape == (1, *SIZE, 3)
    for place, mask in enumerate(masks()):
        assert np.array_equal(found[0, ..., place], mask)
    described = [seg.get_segment_description(number) for number in seg.segment_numbers]
    assert [one.segment_label for one in described] == ["Right lung", "Left lung", "Round opacity"]
    assert [one.segmented_property_type.meaning for one in described] == ["Lung", "Lung", "Round opacity of the lung"]
    assert described[0].algorithm_identification.name == MODEL.name


def test_dcmtk_reads_it(tmp_path: Path) -> None:
    """dcmdump reads the file to its end without a warning."""
    require("dcmdump")
    done = subprocess.run(["dcmdump", save(made(outlined_image()), tmp_path / "seg.dcm")], capture_output=True)
    assert done.returncode == 0
    assert not done.stderr
    assert b"PixelData" in done.stdout


def test_the_uid_follows_from_every_pixel() -> None:
    """The same masks give the same object; one pixel more gives another."""
    image, other = outlined_image(), outlined_image()
    assert made(image) == made(outlined_image())
    mask = other.outlined[2].mask.copy()
    mask[0, 0] = True
    changed = replace(other, outlined=(*other.outlined[:2], replace(other.outlined[2], mask=mask)))
    assert made(changed).sop_instance_uid != made(image).sop_instance_uid


def test_only_outlined_images_have_one() -> None:
    """An image that was not analysed has none, and all of an analysis are in one series."""
    analysis = Analysis((outlined_image(), FAILED, outlined_image(2)), MODEL, STARTED)
    encoded = list(KIND.make(analysis, KIND.options(), ()))
    read_back: list[Dataset] = [read(one) for one in encoded]
    assert [ds.InstanceNumber for ds in read_back] == [1, 2]
    assert len({ds.SeriesInstanceUID for ds in read_back}) == 1
    assert len({one.sop_instance_uid for one in encoded}) == 2
    assert part10(encoded[0]) != part10(encoded[1])


@pytest.mark.parametrize("outputs", [("sr",), ("sr", "seg"), ("sc", "sr", "seg")])
@pytest.mark.parametrize("title", ["imaging-measurement-report", "ai-chest-radiograph-result"])
def test_the_report_measures_what_was_outlined(outputs: tuple[str, ...], title: Any, tmp_path: Path) -> None:
    """The report is valid; each structure has a group with its numbers, and refers to its segment if there is one."""
    image = outlined_image()
    options = ReportOptions(sr_title=title, outputs=outputs)
    report = structured_report([image], MODEL, options, [], STARTED)
    assert iod_errors(save(report, tmp_path / "sr.dcm")) == []
    said, segmentation = str(read(report)), made(image).sop_instance_uid
    assert (segmentation in said) == ("seg" in outputs)
    assert said.count("Referenced Segmentation Frame") == (3 if "seg" in outputs else 0)
    assert said.count("Number of separate regions") == 1
    assert said.count("Share of the area of the image") == 3


@pytest.mark.parametrize(("plane", "unit"), [("patient", "mm2"), ("detector", "{pixels}")])
def test_square_millimetres_are_those_of_the_patient(plane: Any, unit: str) -> None:
    """What was measured at the detector is not coded as an area in the patient; the words say where it holds."""
    image = outlined_image()
    outlined = tuple(replace(one, area_mm2=123.4, plane=plane) for one in image.outlined)
    report = structured_report([replace(image, outlined=outlined)], MODEL, ReportOptions(), [], STARTED)
    said = str(read(report))
    assert (unit in said, "123.4" in said) == (True, plane == "patient")
    assert f"cm2 {'in the patient' if plane == 'patient' else 'at the detector'}".encode() in report.data


def test_an_unknown_structure_is_named_at_the_start() -> None:
    """A model of a structure without a code is refused, and what to do is said."""
    with pytest.raises(UnknownFinding, match=r"Spleen.*structures.toml"):
        check_structures(["right_lung", "Spleen"])
