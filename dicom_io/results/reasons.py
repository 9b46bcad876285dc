"""Why an image has no result, in a radiologist's words.

Selection, decoder and gate give their reasons in the words of an engineer, for the journal and the log. Here stands
what a radiologist reads instead: the first row whose pattern the reason matches, by its beginning. A reason that no row
knows is answered by `UNKNOWN`, so that a new one reads well before anybody adds its row.
"""

import re
from dataclasses import dataclass

from dicom_io.results.language import Language, marked

UNKNOWN = marked("the model cannot use this image. The administrator of the AI system can say why.")


@dataclass(frozen=True)
class Plainly:
    """A reason in plain words: `cause` is the end of a sentence, `view` a word for the image, or ""."""

    cause: str
    view: str = ""


_FRONTAL_ONLY = marked("the model reads frontal images only.")
_UNREADABLE = marked("the image file cannot be read. Send it again, if possible without compression.")
_NO_RADIOGRAPH = marked("not a radiograph.")

# pattern at the beginning of the reason, whose named groups may stand in the sentence; sentence; word for the view
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("a lateral view", _FRONTAL_ONLY, marked("lateral")),
    ("an oblique view", _FRONTAL_ONLY, marked("oblique")),
    ("a decubitus view", _FRONTAL_ONLY, marked("decubitus")),
    ("a view that the configuration excludes", marked("this view is not read at this site."), ""),
    ("a view of the ribs|another part|more than the chest", marked("does not show the chest alone."), ""),
    (r"younger than (?P<years>\S+) years", marked("patient younger than {years} years."), ""),
    (r"older than (?P<years>\S+) years", marked("patient older than {years} years."), ""),
    (r"the view is \S+, and the model|SOP Class \S+ is not one that the model|the model is for images of other",
     marked("the model is not meant for images of this kind or device."), ""),
    ("Patient's Age and birth date", marked("the patient's age and birth date contradict each other."), ""),
    ("not a human", marked("not a human patient."), ""),
    ("made out of|not one whole", marked("processed image. The model reads the original radiograph only."), ""),
    ("DX For Processing|detector data", marked("raw detector data, not an image for viewing."), ""),
    ("a colour picture|a result of|made by this", marked("the result of a program, not a radiograph."), ""),
    ("a Secondary Capture|SOP Class|Modality is|no Rows", _NO_RADIOGRAPH, ""),
    ("the picture does not look like", marked("does not look like an upright frontal chest radiograph. "
     "Check rotation and labels."), ""),
    ("Pixel Data has|the file ends|encapsulated Pixel Data holds|the fragments of Pixel Data|the codestream ends",
     marked("the image file is incomplete. Send it again."), ""),
    ("the software could not process it",
     marked("the software could not process it. The PACS administrator can see why."), ""),
    ("no Pixel Data", marked("the file holds no image."), ""),
    ("every pixel|nothing can be told|nothing but pixel|the image is constant",
     marked("the image is blank."), ""),
    (r"\d+ x \d+ x \d+ pixels|more than \d+|sequences nested|a codestream of \d+ x \d+, the limit"
     r"|\d+ (precincts|code-blocks)",
     marked("the image file is too large."), ""),
    (r"\d+ frames", marked("more than one picture in the file."), ""),
    (r"not a readable|not a DICOM|no \w+: not|not a JPEG|a JPEG|the JPEG|RLE |an RLE|the .*decoder|no decoder|"
     r"a codestream of|\d+ (of \d+ bits|samples|decomposition)|colour of|Pixel Data (is|of)|the deflated|"
     "the picture holds values", _UNREADABLE, ""),
)  # fmt: skip
_REMARKS: tuple[tuple[str, str, str], ...] = (
    (r"The patient's age is unknown, .* at least (?P<years>\S+) years",
     marked("The patient's age is unknown: the model is meant for patients of {years} years and more."), ""),
)  # fmt: skip


def plainly(reason: str, language: Language) -> Plainly:
    """Return a reason of selection, decoder or gate as a radiologist reads it."""
    sentence, view, values = _row(_ROWS, reason) or (UNKNOWN, "", {})
    return Plainly(language.say(sentence, **values), language.say(view) if view else "")


def remark(said: str, language: Language) -> str:
    """Return a remark of selection as a radiologist reads it; one that no row knows stays as it is."""
    known = _row(_REMARKS, said)
    return language.say(known[0], **known[2]) if known else said


def is_another_part(reason: str) -> bool:
    """Tell whether the reason is that the image shows no chest."""
    return reason.startswith("another part")


def is_known(reason: str) -> bool:
    """Tell whether a row answers this reason."""
    return _row(_ROWS, reason) is not None


def _row(rows: tuple[tuple[str, str, str], ...], said: str) -> tuple[str, str, dict[str, str]] | None:
    for pattern, sentence, view in rows:
        if found := re.match(f"(?:{pattern})", said):
            return sentence, view, found.groupdict()
    return None
