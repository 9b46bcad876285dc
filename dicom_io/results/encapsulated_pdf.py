"""The Encapsulated PDF (PS3.3 A.45.1): the page of the result with the summary, for viewers that show no report."""

from collections.abc import Iterator, Sequence

from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_io.composite import copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    PredecessorRef,
    ResultKind,
    check_analysis,
    result_uid,
)
from dicom_io.composite.encode import element, sequence
from dicom_io.composite.evidence import reference
from dicom_io.composite.macros import sop_reference
from dicom_io.composite.options import READING, ReadingOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.identity import MANUFACTURER
from dicom_io.results import wording
from dicom_io.results.caption import caption
from dicom_io.results.language import Language
from dicom_io.results.page.content import pages
from dicom_io.results.page.sheet import draw

SERIES_NUMBER = 9941


def encapsulated_pdf(analysis: Analysis, options: ReadingOptions = READING) -> Encoded:
    """The result as a PDF/A-2b on A4, without name, number or birth date of the patient, as far as we write it.

    The same analysis gives the same UID and the same bytes; patient and study are copied as for the report. Raises as
    `structured_report` does.
    """
    check_analysis(analysis.images, analysis.started)
    images, model, started = analysis.images, analysis.model, analysis.started
    source, class_uid = images[0].dataset, str(EncapsulatedPDFStorage)
    uid = result_uid("pdf", images, model, *options.parts, *(f"{one.view} {one.side}" for one in images))
    said = caption(images, model, options, analysis.revision)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("DOC", iod.series_number(SERIES_NUMBER, analysis.revision), uid, said, started, source),
        **iod.equipment(model, started, source),
        "ConversionType": element("ConversionType", "WSD"),  # SC Equipment, PS3.3 C.8.6.1: a workstation made it
        **_document(analysis, said, _pdf(analysis, Language.of(options.language), uid)),
        **iod.sop_common(class_uid, uid, started, source),
    }
    return Encoded(class_uid, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _document(analysis: Analysis, said: str, pdf: bytes) -> dict[str, bytes]:
    """Encapsulated Document, PS3.3 C.24.2; Content Date and Time are those of the analysis."""
    source = analysis.images[0].dataset
    day, time = iod.day_and_time(analysis.started, source)
    return {
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "AcquisitionDateTime": element("AcquisitionDateTime"),
        "BurnedInAnnotation": element("BurnedInAnnotation", _burned_in(analysis)),
        "DocumentTitle": element("DocumentTitle", repertoire(source).encode(said, 1024)),
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
    shown = [image for image in analysis.images if image.pixels is not None]
    return "NO" if all(copying.text(image.dataset, "BurnedInAnnotation").upper() == "NO" for image in shown) else "YES"


def _pdf(analysis: Analysis, language: Language, identifier: str) -> bytes:
    """The pages of the Secondary Capture, the first with the Summary and the Comment of the report under it."""
    from dicom_io.results.pdf_pages import pdf  # fpdf2 is loaded only where a destination gets a PDF

    images, model = analysis.images, analysis.model
    replaces = iod.replaced_in_zone(analysis.replaces, images[0].dataset)
    producer = f"{MANUFACTURER} {iod.software_version()}"
    lines = [*wording.summary(images, model, language, replaces), "", *wording.comments(images, model, language)]
    said = wording.replaced(replaces, language) if replaces else ""
    drawn = [draw(page) for page in pages(analysis, language, said)]
    texts = [lines, *([] for _ in drawn[1:])]
    title = language.say("AI chest radiograph result")
    return pdf(list(zip(drawn, texts, strict=True)), title, producer, analysis.started, identifier, language.code)


def _make(analysis: Analysis, options: ReadingOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    yield encapsulated_pdf(analysis, options)


KIND = ResultKind((str(EncapsulatedPDFStorage),), ReadingOptions, _make)
