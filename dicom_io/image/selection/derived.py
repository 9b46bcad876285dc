"""Whether an image was made out of a radiograph and shows only what its maker wanted to show.

Image Type DERIVED by itself says little: many CR systems write it on every image that they process, and every gateway
that recompresses one (PS3.3 C.7.6.1.1.2). So DERIVED rejects an image only together with a word that says what was
made: bone or soft tissue alone, a subtraction, a suppression, an emphasis of tubes and lines, a program's result. On an
image that calls itself ORIGINAL the word must leave no doubt: both that something was taken away, and that it was bone.
Words of plain processing ("grid suppression", "scatter subtraction") reject nothing.
"""

from collections.abc import Iterator

from dicom_io.image.header import Header
from dicom_io.image.selection.codes import meaning
from dicom_io.image.selection.verdict import SelectionRules
from dicom_io.image.selection.words import named

# Values of Image Type of pictures that are not one whole radiograph
EXCLUDED_IMAGE_TYPES = ("LOCALIZER", "SUBTRACTION", "TOMOSYNTHESIS", "SCREEN SAVE", "REFORMATTED")

_MADE_OF = "made out of a radiograph ({}): the model reads the radiograph itself only"
_DESCRIPTIONS = ("SeriesDescription", "ImageComments", "DerivationDescription", "ProtocolName",
                 "AcquisitionDeviceProcessingDescription", "AcquisitionDeviceProcessingCode")  # fmt: skip


def image_type(header: Header, rules: SelectionRules) -> str:
    values = (value.upper().replace("_", " ") for value in header.texts("ImageType"))
    found = next((value for value in values if value in EXCLUDED_IMAGE_TYPES), "")
    return f"not one whole radiograph (Image Type is {found})" if found else ""


def derived(header: Header, rules: SelectionRules) -> str:
    """Return what the image was made to show; "" if it is the radiograph itself."""
    types = [value.upper() for value in header.texts("ImageType")]
    original = bool(types) and types[0].startswith("ORIGINAL")
    for text in _texts(header):
        kind = _surely(text) if original else _made(text, secondary="SECONDARY" in types[:2])
        if kind:
            return _MADE_OF.format(kind)
    return ""


def _surely(text: str) -> str:
    words = named(text, "made")
    return "bone suppression" if {"tissue", "taken_away"} <= words and "technical" not in words else ""


def _made(text: str, secondary: bool) -> str:
    words = named(text, "made")
    if "taken_away" in words and "technical" not in words:
        return "suppression or subtraction"
    if "tissue" in words:
        return "bone or soft tissue alone"
    if "energy" in words and "standard" not in words:
        return "dual energy"
    if {"device", "enhanced"} <= words:
        return "enhancement of tubes, lines or lungs"
    return "a program's result" if secondary and "result" in words else ""


def _texts(header: Header) -> Iterator[str]:
    yield " ".join(header.texts("ImageType")[2:])
    yield from map(header.text, _DESCRIPTIONS)
    yield from map(meaning, header.items("DerivationCodeSequence"))
