"""dicom_io.image.selection.derived and origin: what is not the radiograph itself."""

from typing import Any

import pytest
from pydicom import uid

from dicom_io.image.selection import select
from tests.support.selection import header, item, rules

DERIVED, BOTH, ORIGINAL = ["DERIVED", "PRIMARY"], ["DERIVED", "SECONDARY"], ["ORIGINAL", "PRIMARY"]
SC = {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "DX"}
COLOUR = {**SC, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}


@pytest.mark.parametrize(
    "elements",
    [
        {"ImageType": [*DERIVED, "", "SOFT_TISSUE"]},
        {"ImageType": [*DERIVED, "", "BONE"]},
        {"ImageType": DERIVED, "SeriesDescription": "PA Soft Tissue"},
        {"ImageType": DERIVED, "SeriesDescription": "DE Bone"},
        {"ImageType": BOTH, "SeriesDescription": "Bone Suppression"},
        {"ImageType": BOTH, "DerivationDescription": "rib suppressed"},
        {"ImageType": BOTH, "SeriesDescription": "Knochenunterdrückung", "SpecificCharacterSet": "ISO_IR 100"},
        {"ImageType": DERIVED, "AcquisitionDeviceProcessingDescription": "Dual energy subtraction"},
        {"ImageType": DERIVED, "SeriesDescription": "Dual-Energy"},
        {"ImageType": DERIVED, "ImageComments": "Temporal subtraction"},
        {"ImageType": DERIVED, "SeriesDescription": "Tube and line enhanced"},
        {"ImageType": DERIVED, "DerivationCodeSequence": [item(CodeValue="113062", CodingSchemeDesignator="DCM")]},
        {"ImageType": ORIGINAL, "SeriesDescription": "Chest PA bone suppressed"},
        {"SeriesDescription": "Bone suppression"},
        {"ImageType": BOTH, "SeriesDescription": "AI heatmap"},
        {"ImageType": [*DERIVED, "SCREEN_SAVE"]},
    ],
    ids=str,
)
def test_what_was_made_out_of_a_radiograph_is_not_analysed(elements: dict[str, Any]) -> None:
    """An image that says that it shows a part of what was exposed is not one that the model knows."""
    verdict = select(header(**elements), rules())
    assert (verdict.eligible, verdict.sign) == (False, "chest")


@pytest.mark.parametrize(
    "elements",
    [
        {"ImageType": DERIVED},
        {"ImageType": BOTH},
        {"ImageType": BOTH, "DerivationDescription": "JPEG lossy 10:1"},
        {"ImageType": DERIVED, "SeriesDescription": "PA Standard"},
        {"ImageType": DERIVED, "SeriesDescription": "Dual Energy Standard"},
        {"ImageType": DERIVED, "DerivationDescription": "Grid suppression, scatter subtraction"},
        {"ImageType": DERIVED, "DerivationDescription": "Noise suppressed, edge enhanced"},
        {"ImageType": DERIVED, "SeriesDescription": "Chest AP line placement, tube check"},
        {"ImageType": DERIVED, "DerivationCodeSequence": [item(CodeValue="113040", CodeMeaning="Lossy Compression")]},
        {"ImageType": ORIGINAL, "SeriesDescription": "Chest PA soft tissue"},
        {"ImageType": DERIVED, "SeriesDescription": "Radiographie des poumons"},
        {**SC, "ImageType": BOTH, "ConversionType": "DF"},
        {**SC, "ConversionType": "DI"},
        {**SC, "ConversionType": "SD"},
        {**SC, "ConversionType": "DF", "Manufacturer": "AI Scanners", "PhotometricInterpretation": "MONOCHROME2"},
        {**COLOUR, "ConversionType": "SD", "ImageType": BOTH},
        {**COLOUR, "ConversionType": "WSD"},
    ],
    ids=str,
)
def test_processing_compression_and_film_reject_nothing(elements: dict[str, Any]) -> None:
    """DERIVED says no more than that somebody processed or compressed the image; a scanned film is a radiograph."""
    assert select(header(**elements), rules()).eligible


@pytest.mark.parametrize(
    ("sign", "elements"),
    [
        (
            "result",
            {**COLOUR, "ConversionType": "WSD", "ImageType": BOTH, "SeriesDescription": "AI CXR heatmap result"},
        ),
        ("result", {**COLOUR, "ConversionType": "WSD", "Manufacturer": "Another AI"}),
        ("result", {**SC, "ConversionType": "WSD", "SeriesDescription": "Findings"}),
        ("result", {**COLOUR, "ConversionType": "SD", "DerivationDescription": "saliency map"}),
        ("result", {"PhotometricInterpretation": "YBR_FULL_422", "SamplesPerPixel": 3, "SeriesDescription": "CAD"}),
        ("chest", {**COLOUR, "ConversionType": "WSD", "ImageType": BOTH}),
        ("chest", {**COLOUR, "ImageType": ["DERIVED"]}),
        ("chest", {**SC, "PhotometricInterpretation": "PALETTE COLOR", "ImageType": BOTH}),
    ],
    ids=str,
)
def test_results_of_programs_are_not_analysed(sign: str, elements: dict[str, Any]) -> None:
    """Marks that a program drew are not taken for the patient, and a result that calls itself one gets no report."""
    verdict = select(header(**elements), rules())
    assert (verdict.eligible, verdict.sign) == (False, sign)
