"""dicom_io.phantom: the drawn studies show the finding that they name, and hilum does with them what they expect."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.selection import select
from dicom_io.phantom.studies import BITS, FINDINGS, PhantomStudy, draw_thorax, phantom_studies
from dicom_io.phantom.thorax import draw_chest
from tests.support.selection import rules

SIZE = (430, 350)  # a pixel is a millimetre


@pytest.fixture(scope="module")
def studies() -> list[PhantomStudy]:
    return list(phantom_studies())


@pytest.fixture(scope="module")
def drawn() -> dict[str, NDArray[np.float64]]:
    return {finding: draw_thorax(8, finding, *SIZE) / (2**BITS - 1) for finding in FINDINGS}


def test_a_drawing_depends_on_its_seed_alone() -> None:
    """The same seed gives the same pixels; another seed draws another patient."""
    one = draw_thorax(1, "none", *SIZE)
    assert one.dtype == np.uint16
    assert one.shape == SIZE
    assert one.max() < 2**BITS
    assert np.array_equal(one, draw_thorax(1, "none", *SIZE))
    assert np.abs(one.astype(int) - draw_thorax(2, "none", *SIZE)).mean() > 10


def test_an_unknown_finding_is_refused() -> None:
    """A finding that cannot be drawn raises ValueError with its name."""
    with pytest.raises(ValueError, match="gallstone"):
        draw_thorax(1, "gallstone", *SIZE)  # type: ignore[arg-type]


def test_it_has_the_densities_of_a_chest(drawn: dict[str, NDArray[np.float64]]) -> None:
    """Air is dark, lung is darker than belly and spine, and there is a little quantum noise."""
    chest = drawn["none"]
    right_lung, spine, belly, beside = (
        chest[150:230, 80:130].mean(),
        chest[300:400, 170:180].mean(),
        chest[380:, 100:140].mean(),
        chest[:30, :60].mean(),
    )
    assert beside < right_lung < belly < spine
    assert right_lung < 0.5 < belly
    noise = np.diff(chest[380:, 100:140], axis=1).std() / np.sqrt(2)
    assert 0.0005 < noise < 0.03


@pytest.mark.parametrize("finding", FINDINGS[1:])
def test_a_finding_changes_the_picture_where_it_should(drawn: dict[str, NDArray[np.float64]], finding: str) -> None:
    """Fluid whitens the base, air darkens the wall, a mass whitens a spot, a large heart widens the shadow."""
    none, found = drawn["none"], drawn[finding]
    whiter, darker = (found - none) > 0.1, (none - found) > 0.1
    if finding == "pneumothorax":
        assert darker.sum() > 1000
        assert whiter.sum() < darker.sum() / 2
        assert np.nonzero(darker)[0].mean() < 280
        return
    assert whiter.sum() > 400
    rows, columns = np.nonzero(whiter)
    if finding == "effusion":
        assert rows.mean() > 230
        assert abs(columns.mean() - 175) > 50
    elif finding == "mass":
        assert np.ptp(columns) < 100
        assert np.ptp(rows) < 100
    else:
        assert columns.min() < 165
        assert columns.max() > 200


def test_studies_are_many_and_different(studies: list[PhantomStudy]) -> None:
    """The studies differ in modality, transfer syntax and character set, and their names are invented."""
    assert len(studies) >= 10
    data = [pydicom.dcmread(_stream(study)) for study in studies]
    assert len({ds.StudyInstanceUID for ds in data}) == len({ds.SOPInstanceUID for ds in data}) == len(studies)
    assert len({study.calling_ae_title for study in studies}) >= 4
    assert all(len(study.calling_ae_title) <= 16 for study in studies)
    assert {ds.Modality for ds in data} == {"CR", "DX"}
    assert len({ds.file_meta.TransferSyntaxUID for ds in data}) >= 6
    assert {study.finding for study in studies} == set(FINDINGS)
    assert {study.expectation for study in studies} == {"analysed", "ignored", "refused"}
    assert all("h" in str(ds.PatientName).lower() or "Genei" in str(ds.PatientName) for ds in data)
    assert any("PatientBirthDate" not in ds for ds in data)
    assert any(":" in str(ds.get_item("StudyTime").value) for ds in data)
    assert {ds.PhotometricInterpretation for ds in data} == {"MONOCHROME1", "MONOCHROME2"}


def test_the_same_seed_gives_the_same_bytes() -> None:
    """The same seed gives the same bytes, so that sending a study again is a duplicate and not a conflict."""
    one, other, third = (next(phantom_studies(1, seed=seed)) for seed in (0, 0, 1))
    assert one == other
    assert one.data != third.data


def test_each_study_gets_what_it_expects(studies: list[PhantomStudy], tmp_path: Path) -> None:
    """A study to be analysed decodes to the drawing; the others are ignored or raise NoPicture."""
    for number, study in enumerate(studies):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(study.data)
        verdict = select(read_header(path), rules())
        assert verdict.eligible == (study.expectation != "ignored"), study.name
        if study.expectation == "refused":
            with pytest.raises(NoPicture):
                decode(path)
        elif study.expectation == "analysed":
            picture = decode(path)
            drawn = draw_thorax(number, study.finding, *picture.shape) / (2**BITS - 1)  # type: ignore[arg-type]
            assert np.corrcoef(picture.ravel()[::11], drawn.ravel()[::11])[0, 1] > 0.85, study.name


def _stream(study: PhantomStudy) -> BytesIO:
    return BytesIO(study.data)


def test_masks_are_exact() -> None:
    """Round opacities lie in a lung field, do not touch, and are where the drawing changes; without any, none does."""
    plain, healthy = draw_chest(5, "none", 0, *SIZE)
    assert np.array_equal(plain, draw_thorax(5, "none", *SIZE))
    assert healthy.opacities == ()
    drawn, regions = draw_chest(5, "none", 4, *SIZE)
    field = regions.right_lung | regions.left_lung
    together = np.sum(regions.opacities, axis=0)
    assert 1 <= len(regions.opacities) <= 4
    assert together.max() == 1
    assert field[together > 0].all()
    changed = drawn.astype(int) - plain
    assert changed[together > 0].mean() > 50 > np.abs(changed[together == 0]).mean()
    assert not (regions.right_lung & regions.left_lung).any()
