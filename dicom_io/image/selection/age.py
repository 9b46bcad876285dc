"""How old a patient was, from what devices write: dates and ages are malformed more often than missing."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from dicom_io.image.header import Header

OLDEST = 130.0  # years; some systems send 1 January 1800 for "unknown"
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
# First letters of day, week, month and year in other languages, as typed where a form was translated
_UNITS = {"T": "D", "S": "W", "J": "Y", "A": "Y", "L": "Y", "R": "Y", "岁": "Y", "歳": "Y", "才": "Y", "세": "Y",
          "月": "M", "个": "M", "周": "W", "日": "D", "天": "D"}  # fmt: skip
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime",
          "PerformedProcedureStepStartDate")  # fmt: skip


def stated_years(header: Header) -> float | None:
    """Patient's Age in years (PS3.5 6.2: nnnD, nnnW, nnnM or nnnY); a number alone means years. None if unreadable."""
    found = re.search(r"(\d+(?:[.,]\d+)?)\s*(\w?)", header.text("PatientAge").upper())
    if not found:
        return None
    unit = found[2] or "Y"
    per_year = _PER_YEAR.get(_UNITS.get(unit, unit))
    years = float(found[1].replace(",", ".")) / per_year if per_year else None
    return years if years is not None and years < OLDEST else None


def counted_years(header: Header) -> float | None:
    """The years from the birth date to the first date of the image with which they make an age; None if none does.

    A date that is not known to the day counts as the one that makes the patient oldest.
    """
    birth = read_date(header.text("PatientBirthDate"))
    taken = filter(None, (read_date(header.text(keyword)) for keyword in _DATES))
    ages = (_years(birth[0], day) for _, day in taken) if birth else iter(())
    return next((age for age in ages if 0 <= age < OLDEST), None)


def read_date(text: str) -> tuple[date, date] | None:
    """Return the first and the last day that a date can mean: the same one, or those of a month or a year.

    Read are YYYYMMDD (PS3.5 6.2), the YYYY.MM.DD of ACR-NEMA, either with other signs between, YYYYMM, YYYY, and a year
    at the end. Where day and month cannot be told apart, or name no day of the calendar, the year alone counts.
    """
    return next(filter(None, map(_span, _readings(re.findall(r"\d{1,14}", text)))), None)


def _readings(numbers: list[str]) -> Iterator[tuple[str, ...]]:
    """Year, month and day as they may be meant, the likeliest first."""
    if not numbers:
        return
    first = numbers[0]
    if len(first) >= 5:
        yield first[:4], first[4:6], first[6:8]
        yield (first[:4],)
        yield (first[4:8],)
    elif len(first) == 4:
        yield tuple(numbers[:3])
        yield (first,)
    else:
        year = next((number for number in numbers[1:3] if len(number) == 4), "")
        if int(first) > 12 and len(numbers) > 2:
            yield year, numbers[1], first
        elif len(numbers) > 2 and int(numbers[1]) > 12:
            yield year, first, numbers[1]
        yield (year,)


def _span(parts: tuple[str, ...]) -> tuple[date, date] | None:
    given = [int(part) for part in parts if part]
    try:
        if not given or not 1800 <= given[0] <= 2200:
            return None
        if len(given) == 3:
            return (day := date(given[0], given[1], given[2])), day
        if len(given) == 2:
            following = date(given[0] + given[1] // 12, given[1] % 12 + 1, 1)
            return date(given[0], given[1], 1), following - timedelta(days=1)
        return date(given[0], 1, 1), date(given[0], 12, 31)
    except ValueError:
        return None


def _years(birth: date, day: date) -> float:
    """Whole years up to the last birthday, and the part of a year since."""
    whole = day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))
    since = day - date(birth.year + whole, birth.month, min(birth.day, 28))
    return whole + min(since.days / 366, 0.999)
