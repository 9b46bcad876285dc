"""dicom_io.composite.copying: what cannot be copied is left out, and nothing in a header raises."""

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dicom_io.composite import copying


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
