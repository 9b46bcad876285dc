"""dicom_io.image.part10: a file is split without a byte of its data set changed."""

import pytest
from pydicom import uid

from dicom_io.image.part10 import read_part10
from dicom_io.phantom.studies import PhantomStudy, phantom_studies

PREAMBLE = b"\0" * 128 + b"DICM"


@pytest.fixture(scope="module")
def studies() -> list[PhantomStudy]:
    return list(phantom_studies())


def test_the_data_set_is_the_rest_of_the_file(studies: list[PhantomStudy]) -> None:
    """In every transfer syntax, deflated too, `data` is what follows the File Meta Information, byte for byte."""
    syntaxes = set()
    for study in studies:
        part10 = read_part10(study.data)
        length = int.from_bytes(study.data[140:144], "little")  # PS3.10 7.1: (0002,0000) counts from its own end
        assert part10.data == study.data[144 + length :]
        assert part10.sop_instance_uid.startswith("2.25.")
        syntaxes.add(part10.transfer_syntax_uid)
    assert {uid.DeflatedExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.JPEG2000Lossless} <= syntaxes


def test_a_wrong_group_length_changes_nothing(studies: list[PhantomStudy]) -> None:
    """The meta information ends at the first element of another group, whatever its group length says."""
    wrong = studies[0].data[:140] + b"\1\0\0\0" + studies[0].data[144:]
    assert read_part10(wrong) == read_part10(studies[0].data)


@pytest.mark.parametrize("content", [b"", b"hello", PREAMBLE, PREAMBLE + b"\x02\0\x10\0UI\x06\x001.2.3\0"])
def test_a_file_without_its_uids_raises_value_error(content: bytes) -> None:
    """Bytes that are not a DICOM file, or whose meta information is incomplete, raise ValueError."""
    with pytest.raises(ValueError, match="not a DICOM file"):
        read_part10(content)
