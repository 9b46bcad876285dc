"""From which side a frontal image was taken, on which the thresholds depend."""

from typing import Any

import pytest
from pydicom.sequence import Sequence

from dicom_io.image.selection import projection
from tests.support.selection import header, item

POSTERO_ANTERIOR = item(CodeValue="272479007", CodingSchemeDesignator="SCT", CodeMeaning="postero-anterior")
ANTERO_POSTERIOR = item(CodeValue="399348003", CodingSchemeDesignator="SCT", CodeMeaning="antero-posterior")


@pytest.mark.parametrize(
    ("expected", "elements"),
    [
        ("PA", {}),
        ("PA", {"ViewPosition": "pa "}),
        ("AP", {"ViewPosition": "AP"}),
        ("PA", {"ViewPosition": None, "ViewCodeSequence": Sequence([POSTERO_ANTERIOR])}),
        ("AP", {"ViewPosition": "", "ViewCodeSequence": Sequence([ANTERO_POSTERIOR])}),
        ("AP", {"ViewPosition": None, "SeriesDescription": "Thorax a.p. liegend"}),
        ("PA", {"ViewPosition": None, "ProtocolName": "Chest PA and lateral"}),
        ("AP", {"ViewPosition": None, "SeriesDescription": "Chest anteroposterior"}),
        ("PA", {"ViewPosition": None, "SeriesDescription": "胸部后前位"}),
    ],
)
def test_the_view_is_read(expected: str, elements: dict[str, Any]) -> None:
    """View Position, the code and the descriptions name it, in any usual spelling."""
    assert projection(header(SpecificCharacterSet="ISO_IR 192", **elements)) == expected


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": None},
        {"ViewPosition": "FRONTAL"},
        {"ViewPosition": "AP/PA"},
        {"ViewPosition": "PA", "SeriesDescription": "Thorax AP im Bett"},
        {"ViewPosition": "PA", "ViewCodeSequence": Sequence([ANTERO_POSTERIOR])},
        {"ViewPosition": None, "SeriesDescription": "Chest PAPER"},
    ],
)
def test_a_view_that_is_not_known_is_not_guessed(elements: dict[str, Any]) -> None:
    """Without a name, with both names or with two elements that contradict each other, the view is unknown."""
    assert projection(header(**elements)) == ""
