"""dicom_io.composite.repertoire: our own text in the character set of the object, as other readers decode it."""

import subprocess
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_io.composite.repertoire import ASCII, Repertoire, repertoire
from dicom_io.results.report import ReportOptions, SourceImage, structured_report
from tests.conftest import require
from tests.dicom_io.test_report import CHARACTER_SETS, named, with_raw
from tests.support.sample_results import FOUND, MODEL, STARTED, header, read, save

WITH_ACCENTS = "Épanchement pleural : au-dessus du seuil (score 84)"
WITHOUT = "Epanchement pleural : au-dessus du seuil (score 84)"
SETS = {
    "": WITHOUT,
    "ISO_IR 6": WITHOUT,
    "ISO_IR 100": WITH_ACCENTS,
    "ISO 2022 IR 100\\ISO 2022 IR 87": WITH_ACCENTS,
    "ISO_IR 192": WITH_ACCENTS,
    "ISO_IR 144": WITHOUT,
    "GB18030": WITHOUT,
    "\\ISO 2022 IR 87": WITHOUT,
    "ISO_IR 13\\ISO 2022 IR 87": WITHOUT,
    "ISO_IR 999": WITHOUT,
}


def source(character_set: str) -> Dataset:
    dataset = header(PatientName="A^B", SpecificCharacterSet=None)
    with_raw(dataset, "SpecificCharacterSet", character_set.encode())
    if name := CHARACTER_SETS.get(character_set):
        with_raw(dataset, "PatientName", name)
    return dataset


@pytest.mark.parametrize("character_set", SETS)
def test_readers_see_the_text_of_the_object_right(character_set: str, tmp_path: Path) -> None:
    """pydicom and dcmtk read French text with accents where the character set has them, else without, beside names of
    any script."""
    require("dsrdump")
    image = SourceImage(source(character_set), FOUND.findings)
    encoded = structured_report([image], MODEL, ReportOptions(language="fr"), (), STARTED)
    if character_set != "ISO_IR 999":
        assert SETS[character_set] in named(read(encoded), "Summary")[0].TextValue.splitlines()
    command = ["dsrdump", "-Ee", "+Pl", "+U8", save(encoded, tmp_path / "sr.dcm")]
    converted = "2022" not in character_set and character_set not in ("ISO_IR 13", "ISO_IR 999")
    if not converted:
        command.remove("+U8")  # dcmtk's iconv does not know them: it shows the bytes
    shown = subprocess.run(command, capture_output=True, encoding="utf-8" if converted else "latin-1")
    assert shown.returncode == 0, shown.stderr
    assert SETS[character_set] in shown.stdout


def test_text_is_cut_by_characters() -> None:
    """Limits of a VR count characters, not bytes (PS3.5 6.2)."""
    assert Repertoire("utf-8").encode("é" * 70, 64) == "é".encode() * 64


def test_what_a_set_does_not_have_is_spelt_in_ascii() -> None:
    """Ligatures and typographic signs are spelt out; a backslash and control characters are never written."""
    assert Repertoire("latin-1").encode("cœur – l’âge", 64) == "coeur - l'âge".encode("latin-1")
    assert ASCII.encode("Modèle für Röntgen\\山\t", 64) == b"Modele fur Rontgen???"
    assert Repertoire("utf-8").encode("e\u0301\\\x1b", 64) == "é??".encode()
    assert repertoire(Dataset()) == ASCII
