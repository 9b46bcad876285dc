"""dicom_io.image.selection.age and patient: who is a child, from what devices write."""

from datetime import date
from typing import Any

import pytest

from dicom_io.image.selection import select
from dicom_io.image.selection.age import counted_years, read_date, stated_years
from tests.support.selection import header, rules


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("081Y", 81),
        ("45", 45),
        ("045", 45),
        ("45Y ", 45),
        ("540M", 45),
        ("006M", 0.5),
        ("000D", 0),
        ("52W", 1),
        ("45 Y", 45),
        ("45y", 45),
        ("45 years", 45),
        ("45 Jahre", 45),
        ("45 ans", 45),
        ("45岁", 45),
        ("P45Y", 45),
        ("0,5Y", 0.5),
        ("old", None),
        ("", None),
        ("999Y", None),
        ("45X", None),
        ("Y", None),
        ("9" * 5000, None),
    ],
)
def test_stated_age(text: str, years: float | None) -> None:
    """Patient's Age is read in any form that leaves no doubt."""
    found = stated_years(header(SpecificCharacterSet="ISO_IR 192", PatientAge=text))
    assert found == (None if years is None else pytest.approx(years, abs=0.01))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("20190228", date(2019, 2, 28)),
        ("2019.02.28", date(2019, 2, 28)),
        ("2019-2-28", date(2019, 2, 28)),
        ("2019/02/28", date(2019, 2, 28)),
        ("28.02.2019", date(2019, 2, 28)),
        ("02/28/2019", date(2019, 2, 28)),
        ("03/04/2019", date(2019, 1, 1)),
        ("2019", date(2019, 1, 1)),
        ("201902", date(2019, 2, 1)),
        ("20190231", date(2019, 1, 1)),
        ("20190000", date(2019, 1, 1)),
        ("28022019", date(2019, 1, 1)),
        ("20190228101500.5", date(2019, 2, 28)),
        ("28-FEB-2019", date(2019, 1, 1)),
        ("2019年2月28日", date(2019, 2, 28)),
        ("unknown", None),
        ("", None),
        ("00000000", None),
        ("28.02.19", None),
        ("1." + "9" * 5000, None),
    ],
)
def test_dates(text: str, first: date | None) -> None:
    """A date is read in the forms of ACR-NEMA and of the field; what is not known to the day is a span."""
    found = read_date(text)
    assert (found and found[0]) == first


CHILD, ADULT = "20190228", "19600229"


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientBirthDate": "2019.02.28", "StudyDate": "20260301"},
        {"PatientBirthDate": "2019", "StudyDate": "20260301"},
        {"PatientBirthDate": CHILD, "StudyDate": "", "SeriesDate": "20260301"},
        {"PatientBirthDate": CHILD, "ContentDate": "2026.03.01"},
        {"PatientBirthDate": CHILD, "StudyDate": "today", "AcquisitionDate": "20260301"},
        {"PatientBirthDate": CHILD, "StudyDate": "19000101", "SeriesDate": "20260301"},
        {"PatientBirthDate": CHILD, "AcquisitionDateTime": "20260301101500"},
        {"PatientAge": "200M"},
        {"PatientAge": "007"},
        {"PatientAge": "000Y"},
        {"PatientAge": "000Y", "PatientBirthDate": CHILD, "StudyDate": "20260301"},
        {"PatientAge": "018Y", "PatientBirthDate": "20080302", "StudyDate": "20260301"},
    ],
    ids=str,
)
def test_children(elements: dict[str, Any]) -> None:
    """A child is told by whatever can be read, and its image gets a report."""
    verdict = select(header(**elements), rules())
    assert verdict.reason == "younger than 18 years: the model is not meant for children"
    assert verdict.sign == "chest"


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PatientBirthDate": CHILD},
        {"PatientBirthDate": ADULT, "StudyDate": "20260301"},
        {"PatientAge": "18"},
        {"PatientAge": "000Y", "PatientBirthDate": ADULT, "StudyDate": "20260301"},
        {"PatientBirthDate": "20080301", "StudyDate": "20260301"},
        {"PatientBirthDate": "2008", "StudyDate": "20260101"},
        {"PatientBirthDate": "17010101", "StudyDate": "20260301"},
        {"PatientBirthDate": "20300101", "StudyDate": "20260301"},
        {"PatientAge": "066Y", "PatientBirthDate": "19000101", "StudyDate": "20260301"},
    ],
    ids=str,
)
def test_adults_and_patients_of_unknown_age(elements: dict[str, Any]) -> None:
    """An adult is analysed, and so is a patient whose age cannot be known; an age of 0 is no answer to a birth date."""
    assert select(header(**elements), rules()).eligible


@pytest.mark.parametrize("age", ["066Y", "7"])
def test_contradiction_is_said(age: str) -> None:
    """Where age and birth date say child and adult, the image is not analysed, and the reason says why."""
    birth = CHILD if age == "066Y" else ADULT
    verdict = select(header(PatientAge=age, PatientBirthDate=birth, StudyDate="20260301"), rules())
    assert not verdict.eligible
    assert "contradict" in verdict.reason
    assert verdict.sign == "chest"


def test_the_birthday_counts() -> None:
    """A patient is as old as the last birthday says, to the day."""
    for day, years in (("20260228", 17), ("20260301", 18), ("20270228", 18)):
        assert int(counted_years(header(PatientBirthDate="20080301", StudyDate=day)) or 0) == years
