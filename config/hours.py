"""Hours of the week, as people write them: "mon-fri 18:00-07:00", "sat-sun", "22:00-06:00"."""

import re
from dataclasses import dataclass
from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_OF_A_DAY = 24 * 60

_DAY = "|".join(DAYS)
_WRITTEN = re.compile(
    rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?)?(?:(?:^|\s+)(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Hours:
    """Days of the week, and the minutes of the day from `begin` up to, but not including, `end`.

    With an `end` that is not after `begin` the time goes on into the next day: Friday 18:00-07:00 ends on Saturday.
    """

    days: frozenset[int]
    begin: int = 0
    end: int = MINUTES_OF_A_DAY

    @classmethod
    def parse(cls, written: str) -> "Hours":
        """Read days, hours or both. Raises ValueError, which says how they are written."""
        found = _WRITTEN.fullmatch(written.strip())
        if not found or not found[0]:
            raise ValueError(
                f"found {written!r}, expected days, hours or both: mon-fri 18:00-07:00, sat-sun, 22:00-06:00"
            )
        days = _days(found["first"], found["last"]) if found["first"] else frozenset(range(len(DAYS)))
        if not found["begin"]:
            return cls(days)
        return cls(days, _minute(found["begin"], written), _minute(found["end"], written))

    def cover(self, moment: datetime) -> bool:
        """Whether a moment, in its own offset from UTC, is within them."""
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        yesterday = (day - 1) % len(DAYS)
        return (day in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)


def _days(first: str, last: str | None) -> frozenset[int]:
    begin = DAYS.index(first.lower())
    number = (DAYS.index((last or first).lower()) - begin) % len(DAYS) + 1  # sat-mon goes over the end of the week
    return frozenset((begin + n) % len(DAYS) for n in range(number))


def _minute(written: str, whole: str) -> int:
    hour, minute = map(int, written.split(":"))
    if minute > 59 or hour * 60 + minute > MINUTES_OF_A_DAY:
        raise ValueError(f"found the time {written} in {whole!r}, expected 00:00 to 24:00")
    return hour * 60 + minute
