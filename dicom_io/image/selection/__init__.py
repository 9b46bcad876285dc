"""Decide from the header whether an image is one that the model is for, and give the reason.

    select.py       the rules in their order, and the verdict
    body_part.py    what part of the body is shown
    view.py         from which side
    origin.py       what kind of object it is, and which program made it
    derived.py      whether it was made out of a radiograph
    patient.py      human, and old enough; age.py reads the age
    words.py        the words of vocabulary.toml, by which all of these read what people wrote
    codes.py        the meaning of the codes

Elements are often missing in the field, and often hold what no list foresees. So a missing element rejects nothing, and
neither does a value that the vocabulary does not know: what is shown is then asked of the next element, and at last of
the model, whose refusal is reported. Reasons are sentences for a radiologist. They quote coded values and words of the
vocabulary, never free text, which may name the patient.
"""

from dicom_io.image.selection.select import select
from dicom_io.image.selection.verdict import SelectionRules, Sign, Verdict
from dicom_io.image.selection.view import Projection, View, projection, stated_view

__all__ = [
    "Projection", "SelectionRules", "Sign", "Verdict", "View", "projection", "select", "stated_view",
]  # fmt: skip
