"""The Encapsulated PDF (PS3.3 A.45.1): the page of the result with the summary, for viewers that show no report."""

from collections.abc import Iterator, Sequence

from PIL.Image import Image
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_io.composite import copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    NoOptions,
    PredecessorRef,
    ResultKind,
    check_analysis,
    result_uid,
)
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import reference
from dicom_io.composite.macros import sop_reference
from dicom_io.identity import MANUFACTURER
from dicom_io.results import picture, wording

SERIES_NUMBER = "9941"
TITLE = "AI chest radiograph result"


def encapsulated_pdf(analysis: Analysis) -> Encoded:
    """The result as a PDF/A-2b on A4, without name, number or birth date of the patient, as far as we write it.

    The same analysis gives the same UID and the same bytes; patient and study are copied as for the report. Raises as
    `structured_report` does.
    """
    check_analysis(analysis.images, analysis.started)
    images, model, started = analysis.images, analysis.model, analysis.started
    location = analysis.location() if analysis.pixels is not None else None
    place = f"{location.finding} {location.polygons} {location.reason}" if location else ""
    source, class_uid = images[0].dataset, str(EncapsulatedPDFStorage)
    uid = result_uid("pdf", images, model, place)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("DOC", SERIES_NUMBER, uid, model, started, source),
        **iod.equipment(model, started, source),
        "ConversionType": element("ConversionType", "WSD"),  # SC Equipment, PS3.3 C.8.6.1: a workstation made it
        **_document(analysis, _pages(analysis, uid)),
        **iod.sop_common(class_uid, uid, started, source),
    }
    return Encoded(class_uid, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _document(analysis: Analysis, pdf: bytes) -> dict[str, bytes]:
    """Encapsulated Document, PS3.3 C.24.2; Content Date and Time are those of the analysis."""
    source = analysis.images[0].dataset
    day, time = iod.day_and_time(analysis.started, source)
    return {
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "AcquisitionDateTime": element("AcquisitionDateTime"),
        "BurnedInAnnotation": element("BurnedInAnnotation", _burned_in(analysis)),
        "DocumentTitle": element("DocumentTitle", TITLE),
        "ConceptNameCodeSequence": sequence("ConceptNameCodeSequence"),
        "VerificationFlag": element("VerificationFlag", "UNVERIFIED"),
        "SourceInstanceSequence": sequence(
            "SourceInstanceSequence", [sop_reference(*reference(image)) for image in analysis.images]
        ),
        "MIMETypeOfEncapsulatedDocument": element("MIMETypeOfEncapsulatedDocument", "application/pdf"),
        "EncapsulatedDocument": element("EncapsulatedDocument", pdf),
        "EncapsulatedDocumentLength": element("EncapsulatedDocumentLength", len(pdf).to_bytes(4, "little")),
    }


def _burned_in(analysis: Analysis) -> str:
    """NO where no radiograph is in the pages or each says NO: what is burned into one is burned in here."""
    said = {copying.text(image.dataset, "BurnedInAnnotation").upper() for image in analysis.images}
    return "NO" if analysis.pixels is None or said == {"NO"} else "YES"


def _pages(analysis: Analysis, identifier: str) -> bytes:
    from dicom_io.results.pdf_pages import pdf  # fpdf2 is loaded only where a destination gets a PDF

    producer = f"{MANUFACTURER} {iod.software_version()}"
    lines = [*wording.summary(analysis.images).splitlines(), "", *wording.comments(analysis.images, analysis.model)]
    pages = [(drawn, lines) for drawn in _pictures(analysis)]
    return pdf(pages, TITLE, producer, analysis.started, identifier)


def _pictures(analysis: Analysis) -> list[Image]:
    location = analysis.location() if analysis.pixels is not None else None
    return [picture.draw(analysis.images, analysis.model, analysis.pixels, location)]


def _make(analysis: Analysis, _options: NoOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    yield encapsulated_pdf(analysis)


KIND = ResultKind((str(EncapsulatedPDFStorage),), NoOptions, _make)
