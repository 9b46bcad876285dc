"""Whose image it is: by Patient ID with its issuer, whatever the spelling of the name."""

from pathlib import Path

import pytest

from dicom_io.image.header import Header, read_header
from dicom_io.image.subject import count_patients, same_patient, subject_digest
from tests.support.peers import dx_file

ANN = {
    "PatientID": "A1",
    "PatientName": "Grün^Ann",
    "PatientBirthDate": "19600102",
    "IssuerOfPatientID": "HOSPITAL",
    "StudyInstanceUID": "1.2.3",
}


def header(directory: Path, name: str = "one", **elements: str) -> Header:
    return read_header(dx_file(directory / f"{name}.dcm", **{"SpecificCharacterSet": "ISO_IR 100", **ANN, **elements}))


@pytest.mark.parametrize(
    "changed",
    [
        {"PatientName": "GRUEN^ANN^MARIA"},
        {"PatientBirthDate": ""},
        {"PatientBirthDate": "19600201"},
        {"IssuerOfPatientID": ""},
        {"PatientID": "A1 "},
        {"PatientID": ""},
        {"PatientID": "", "PatientName": "Ann^Grün", "PatientBirthDate": "1960.01.02"},
        {"PatientID": "", "PatientName": "", "PatientBirthDate": "19990909"},
    ],
)
def test_no_second_patient(tmp_path: Path, changed: dict[str, str]) -> None:
    """Spelling, a birth date, a missing issuer or a missing Patient ID alone make no second patient."""
    assert same_patient(header(tmp_path), header(tmp_path, "two", **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"PatientID": "A2"},
        {"PatientID": "a1"},
        {"IssuerOfPatientID": "CLINIC"},
        {"PatientID": "", "PatientName": "Roth^Ben", "PatientBirthDate": "19710203"},
    ],
)
def test_two_patients(tmp_path: Path, changed: dict[str, str]) -> None:
    """Another Patient ID, another issuer, or without an ID another name with another birth date."""
    first, second = header(tmp_path), header(tmp_path, "two", **changed)
    assert not same_patient(first, second)
    assert count_patients([first, second, first]) == 2


def test_the_digest_is_of_what_is_said(tmp_path: Path) -> None:
    """Another character set or way is no difference; another accession number, description or code is one."""
    digest = subject_digest(header(tmp_path))
    assert digest == subject_digest(header(tmp_path, "two", SpecificCharacterSet="ISO_IR 192"))
    assert digest == subject_digest(header(tmp_path, "three", RetrieveAETitle="ROUTER", StationName="X"))
    for changed in ({"AccessionNumber": "77"}, {"StudyDescription": "Thorax"}, {"PatientSex": "F"}):
        assert digest != subject_digest(header(tmp_path, "four", **changed)), changed
