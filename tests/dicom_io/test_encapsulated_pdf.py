"""The result as a PDF: the page and the summary on A4."""

import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring

from dicom_io.composite.analysis import Analysis, Encoded, Location, SourceImage
from dicom_io.results.encapsulated_pdf import KIND, encapsulated_pdf
from tests.conftest import ROOT, require
from tests.support.sample_results import FAILED, FOUND, MODEL, SECOND, STARTED, UNTRAINED, WITHOUT, header, read, save
from tests.support.validators import iod_errors

PIXELS = np.tile(np.linspace(0, 1, 500, dtype=np.float32), (400, 1))
CONTOUR = Location("Effusion", (((0.25, 0.25), (0.5, 0.25), (0.5, 0.75)),))


def analysis(*images: SourceImage, **values: Any) -> Analysis:
    shown = tuple(replace(one, pixels=PIXELS, location=lambda: CONTOUR) for one in images)
    return replace(Analysis(shown, MODEL, STARTED), **values)


ANALYSES = {
    "found": analysis(FOUND),
    "several": analysis(FOUND, SECOND, FAILED),
    "none": analysis(WITHOUT),
    "failed": Analysis((FAILED,), MODEL, STARTED),
    "untrained": analysis(FOUND, model=UNTRAINED),
}


def document(encoded: Encoded) -> bytes:
    dataset = read(encoded)
    return bytes(dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength])


@pytest.mark.parametrize("kind", ANALYSES)
def test_dciodvfy_finds_no_error(kind: str, tmp_path: Path) -> None:
    """Every kind of document is a valid instance of its IOD, and belongs to patient and study."""
    encoded = encapsulated_pdf(ANALYSES[kind])
    assert iod_errors(save(encoded, tmp_path / "pdf.dcm")) == []
    dataset, source = read(encoded), ANALYSES[kind].images[0].dataset
    assert (dataset.PatientName, dataset.StudyInstanceUID) == (source.PatientName, source.StudyInstanceUID)
    assert (dataset.Modality, dataset.SeriesNumber) == ("DOC", 9941)
    named = [one.ReferencedSOPInstanceUID for one in dataset.SourceInstanceSequence]
    assert named == [image.dataset.SOPInstanceUID for image in ANALYSES[kind].images]


def test_it_is_a_pdf_for_archives(tmp_path: Path) -> None:
    """PDF/A-2b as far as it can be seen from outside: said in the metadata, colours defined, the font embedded, nothing
    that the standard forbids."""
    found = document(encapsulated_pdf(ANALYSES["found"]))
    assert found.startswith(b"%PDF-1.7")
    metadata = fromstring(found[found.index(b"<x:xmpmeta") : found.index(b"</x:xmpmeta>") + 12])
    about = {element.tag.rpartition("}")[2]: element.text for element in metadata.iter()}
    assert (about["part"], about["conformance"]) == ("2", "B")
    assert b"/GTS_PDFA1" in found
    assert found.count(b"/FontFile2") == 1
    assert b"/MediaBox [0 0 595.28 841.89]" in found
    assert not re.search(rb"/(Encrypt|JavaScript|Launch|EmbeddedFile|Movie|Sound)\b", found)


def test_poppler_reads_the_words(tmp_path: Path) -> None:
    """Another program opens it, finds every font in it, and reads the summary and the disclaimer."""
    require("pdftotext", "pdffonts")
    file = tmp_path / "result.pdf"
    file.write_bytes(document(encapsulated_pdf(ANALYSES["several"])))
    words = " ".join(
        subprocess.run(["pdftotext", file, "-"], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "Image 2: above threshold: pneumothorax (score 93)" in words
    assert "not for primary diagnosis" in words
    assert "Image 3 was not analysed: the image is blank." in words
    fonts = subprocess.run(["pdffonts", file], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    assert [font.split()[-5] for font in fonts] == ["yes"]


def test_no_patient_is_in_it() -> None:
    """Another patient's name, number and dates change nothing but the identifier of the file."""
    other = header(PatientName="Other^Name", PatientID="X", AccessionNumber="Y", PatientBirthDate="19990101")
    both = [document(encapsulated_pdf(analysis(replace(FOUND, dataset=source)))) for source in (FOUND.dataset, other)]
    assert both[0] == both[1]


def test_same_analysis_is_the_same_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """UID and bytes depend on the analysis alone, not on when it is drawn; another analysis is another document."""
    first = encapsulated_pdf(ANALYSES["found"])
    code = (
        "import sys; from tests.dicom_io.test_encapsulated_pdf import *; "
        "sys.stdout.buffer.write(encapsulated_pdf(ANALYSES['found']).data)"
    )
    again = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout
    assert again == first.data
    later = encapsulated_pdf(analysis(FOUND, started=STARTED + timedelta(days=1)))
    assert later.sop_instance_uid == first.sop_instance_uid
    assert later.data != first.data
    assert len({encapsulated_pdf(each).sop_instance_uid for each in ANALYSES.values()}) == len(ANALYSES)


@pytest.mark.parametrize(("said", "expected"), [("NO", "NO"), ("YES", "YES"), (None, "YES")])
def test_burned_in_annotation_follows_the_radiograph(said: str | None, expected: str) -> None:
    """What the radiograph may show, the page shows too; a page without one shows nobody."""
    source = header(BurnedInAnnotation=said) if said else header()
    assert read(encapsulated_pdf(analysis(replace(FOUND, dataset=source)))).BurnedInAnnotation == expected
    assert read(encapsulated_pdf(ANALYSES["failed"])).BurnedInAnnotation == "NO"


def test_fpdf_is_loaded_only_for_a_pdf() -> None:
    """A daemon whose destinations get no PDF holds neither fpdf2 nor highdicom in memory."""
    code = (
        "import sys; from daemon import outputs; from tests.dicom_io.test_encapsulated_pdf import *; "
        "names = ('sr', 'sc', 'gsps', 'kos'); outputs.sop_classes(outputs.MODULES); "
        "made = [list(outputs.kind(n).make(ANALYSES['found'], outputs.kind(n).options(), ())) for n in names]; "
        "print([n for n in ('fpdf', 'highdicom', 'fontTools') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_is_small() -> None:
    """A document costs the archive less than half a megabyte."""
    noise = np.random.default_rng(0).normal(0.5, 0.05, (2500, 2048)).astype(np.float32)
    (encoded,) = KIND.make(Analysis((replace(FOUND, pixels=noise),), MODEL, STARTED), KIND.options(), ())
    assert len(encoded.data) < 500_000
