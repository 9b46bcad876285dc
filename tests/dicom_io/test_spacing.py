"""dicom_io.image.spacing: a length is in the patient only where the header says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_io.image.header import read_header
from dicom_io.image.spacing import Spacing, spacing
from tests.dicom_io.test_decode import write


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.3]}, None),
        ({"ImagerPixelSpacing": [0.2, 0.3]}, Spacing(0.2, 0.3, "detector")),
        ({"ImagerPixelSpacing": [0.2, 0.3], "PixelSpacing": [0.2, 0.3]}, Spacing(0.2, 0.3, "detector")),
        ({"ImagerPixelSpacing": [0.2, 0.3], "PixelSpacing": [0.18, 0.27]}, Spacing(0.18, 0.27, "patient")),
        ({"PixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "FIDUCIAL"}, Spacing(0.2, 0.3, "patient")),
        ({"ImagerPixelSpacing": [0.0, 0.3]}, None),
        ({"ImagerPixelSpacing": [0.2]}, None),
    ],
    ids=["none", "uncorrected or not", "detector", "the same", "corrected", "calibrated", "zero", "one value"],
)
def test_the_plane_is_stated(tmp_path: Path, elements: dict[str, Any], expected: Spacing | None) -> None:
    """PS3.3 10.7.1.1: what Pixel Spacing means depends on Imager Pixel Spacing and the type of calibration."""
    values = {"PixelSpacing": None} | elements
    file = write(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), **values)
    assert spacing(read_header(file)) == expected
