"""dicom_io.composite.copying: what cannot be copied is left out, and nothing in a header raises."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_io.composite import copying
from tests.conftest import require
from tests.dicom_io.test_report import errors_of, of
from tests.support.sample_results import header, read, save


def read_again(dataset: Dataset) -> Dataset:
    """The data set as it is read from a file in Implicit VR, whose length fields all have 32 bits."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    return read_dataset(BytesIO(buffer.getvalue()), True, True)


def procedure_code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "RPID2", "RADLEX"
    item.CodeMeaning = meaning
    return item


def test_a_value_too_long_for_its_length_field_is_left_out() -> None:
    """A procedure code whose meaning has 70,000 bytes counts as incomplete; the next item is taken."""
    source = Dataset()
    source.ProcedureCodeSequence = [procedure_code("a" * 70_000)]
    source.StudyDescription = "b" * 70_000
    assert copying.procedure(read_again(source)) is None
    assert "StudyDescription" not in copying.patient_and_study(read_again(source))
    source.ProcedureCodeSequence = [procedure_code("a" * 70_000), procedure_code("Chest PA")]
    assert b"Chest PA" in (copying.procedure(read_again(source)) or b"")


# --- sequences are copied whole or not at all


def made(**elements: Any) -> Dataset:
    """An item; lists are sequences."""
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, Sequence(value) if isinstance(value, list) else value)
    return ds


CODE = made(CodeValue="TX2", CodingSchemeDesignator="99KH", CodeMeaning="Thorax")
LONG = made(LongCodeValue="a code of more than 16 bytes", CodingSchemeDesignator="99KH", CodeMeaning="Thorax")
URN = made(URNCodeValue="urn:oid:1.2.3", CodeMeaning="Thorax")
OTHER_ID = made(PatientID="2", TypeOfPatientID="TEXT")
ISSUER = made(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")

WHOLE = [
    ("ProcedureCodeSequence", CODE),
    ("ProcedureCodeSequence", LONG),
    ("ProcedureCodeSequence", URN),
    ("DeidentificationMethodCodeSequence", CODE),
    ("OtherPatientIDsSequence", OTHER_ID),
    ("IssuerOfPatientIDQualifiersSequence", ISSUER),
    ("IssuerOfPatientIDQualifiersSequence", made(AssigningFacilitySequence=[made(LocalNamespaceEntityID="WARD")])),
    ("IssuerOfPatientIDQualifiersSequence", made(AssigningJurisdictionCodeSequence=[CODE])),
    ("IssuerOfAccessionNumberSequence", ISSUER),
    ("IssuerOfAccessionNumberSequence", made(LocalNamespaceEntityID="RIS")),
]
INCOMPLETE = [
    *((keyword, Dataset()) for keyword in dict(WHOLE)),
    ("ProcedureCodeSequence", made(CodeMeaning="Thorax")),
    ("ProcedureCodeSequence", made(CodeValue="TX2", CodeMeaning="Thorax")),
    ("ProcedureCodeSequence", made(CodeValue="TX2", CodingSchemeDesignator="99KH")),
    ("ProcedureCodeSequence", made(CodeValue="", CodingSchemeDesignator="99KH", CodeMeaning="Thorax")),
    ("ProcedureCodeSequence", made(CodeValue="x" * 17, CodingSchemeDesignator="99KH", CodeMeaning="Thorax")),
    ("ProcedureCodeSequence", made(LongCodeValue="TX2", CodeMeaning="Thorax")),
    ("DeidentificationMethodCodeSequence", made(CodingSchemeVersion="1")),
    ("OtherPatientIDsSequence", made(PatientID="2")),
    ("OtherPatientIDsSequence", made(TypeOfPatientID="TEXT", IssuerOfPatientID="HOSP")),
    ("IssuerOfPatientIDQualifiersSequence", made(UniversalEntityID="1.2.3")),
    ("IssuerOfPatientIDQualifiersSequence", made(AssigningFacilitySequence=[Dataset()])),
    ("IssuerOfAccessionNumberSequence", made(UniversalEntityIDType="ISO")),
    ("IssuerOfAccessionNumberSequence", made(UniversalEntityID="1.2.3", UniversalEntityIDType="HOSPITAL")),
]


def reported(source: Dataset, directory: Path) -> Dataset:
    """The report on this radiograph, in which dciodvfy finds no error."""
    require("dciodvfy")
    encoded = of(source)
    assert errors_of(save(encoded, directory / "sr.dcm")) == []
    return read(encoded)


@pytest.mark.filterwarnings("ignore:.*")  # pydicom says which values are too long
@pytest.mark.parametrize(("keyword", "whole"), WHOLE)
@pytest.mark.parametrize("raw", [False, True])
def test_a_whole_item_is_copied(keyword: str, whole: Dataset, raw: bool, tmp_path: Path) -> None:
    """An item with its Type 1 attributes is copied as it stands, and what stands beside it in pieces is not."""
    source = header(**{keyword: Sequence([Dataset(), whole, made(CodeMeaning="half")])})
    copied = reported(read_again(source) if raw else source, tmp_path)[keyword].value
    assert list(copied) == [whole]


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize(("keyword", "part"), INCOMPLETE)
def test_an_item_without_its_type_1_attributes_is_left_out(keyword: str, part: Dataset, tmp_path: Path) -> None:
    """A sequence of incomplete items is left out, and the report is valid."""
    assert keyword not in reported(header(**{keyword: Sequence([part])}), tmp_path)


@pytest.mark.parametrize("keyword", [*dict(WHOLE), "RequestAttributesSequence"])
@pytest.mark.parametrize(
    "text", [b"Header Anonymizer ", b"", b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0\x08\0\0\0Anonymiz"]
)
@pytest.mark.parametrize("vr", ["SQ", "UN", "LO"])
def test_a_text_in_place_of_a_sequence_is_left_out(keyword: str, text: bytes, vr: str, tmp_path: Path) -> None:
    """A text where a sequence belongs, as anonymizers write it in Implicit VR, never becomes an item."""
    source, tag = header(), Tag(keyword)
    source._dict[tag] = RawDataElement(tag, vr, len(text), text, 0, True, True)
    dataset = reported(source, tmp_path)
    assert keyword not in dataset
    if text == b"Header Anonymizer ":
        assert "ReferencedRequestSequence" not in dataset


def test_a_request_refers_to_whole_instances_only(tmp_path: Path) -> None:
    """Referenced Study Sequence and the requested procedure are Type 2: empty where their items are not whole."""
    half = made(ReferencedSOPInstanceUID="1.2.3")
    wrong = made(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.02.3")
    whole = made(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.3")
    for references, expected in (([half, wrong], []), ([half, whole], [whole])):
        request = made(ReferencedStudySequence=references, RequestedProcedureCodeSequence=[made(CodeMeaning="half")])
        dataset = reported(header(RequestAttributesSequence=Sequence([request])), tmp_path)
        (requested,) = dataset.ReferencedRequestSequence
        assert list(requested.ReferencedStudySequence) == expected
        assert list(requested.RequestedProcedureCodeSequence) == []


def test_an_identity_that_was_removed_needs_its_method(tmp_path: Path) -> None:
    """Patient Identity Removed = YES calls for a method: where that cannot be copied, neither is copied."""
    removed = {"PatientIdentityRemoved": "YES"}
    half = Sequence([made(CodeMeaning="half")])
    assert "PatientIdentityRemoved" not in reported(
        header(**removed, DeidentificationMethodCodeSequence=half), tmp_path
    )
    for method in ({"DeidentificationMethod": "by hand"}, {"DeidentificationMethodCodeSequence": Sequence([CODE])}):
        assert reported(header(**removed, **method), tmp_path).PatientIdentityRemoved == "YES"
    assert reported(header(PatientIdentityRemoved="NO"), tmp_path).PatientIdentityRemoved == "NO"
