"""The tables of triage: what they refuse, and hours as people write them."""

import json
from datetime import datetime

import pytest

from config.hours import DAYS, Hours
from config.settings import ConfigurationError, load

MAIL = {"type": "email", "name": "mail", "host": "mail", "sender": "a@b", "recipients": ["c@d"]}
HOOK = {"type": "webhook", "name": "hook", "url": "https://hook.example/", "secret": "whsec_"}


def moment(written: str) -> datetime:
    """A moment of the week: "fri 18:00"."""
    day, _, time = written.partition(" ")
    return datetime.fromisoformat(f"2026-11-{23 + DAYS.index(day)}T{time}")  # the 23rd is a Monday


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ("mon-fri 18:00-07:00", ["fri 18:00", "fri 23:59", "sat 06:59", "tue 06:59"],
         ["fri 17:59", "sat 07:00", "sat 18:00", "sun 23:00", "mon 06:00"]),
        ("sat-sun", ["sat 00:00", "sun 23:59"], ["fri 23:59", "mon 00:00"]),
        ("22:00-06:00", ["fri 22:00", "fri 05:59", "wed 03:00"], ["fri 06:00", "fri 21:59"]),
        ("SUN-tue 08:00-12:00", ["sun 08:00", "tue 11:59"], ["sun 12:00", "wed 09:00", "sat 09:00"]),
        ("fri", ["fri 00:00"], ["thu 23:59", "sat 00:00"]),
        ("sat 20:00-24:00", ["sat 23:59"], ["sun 00:00", "sat 19:59"]),
    ],
)  # fmt: skip
def test_hours_are_those_of_the_week(written: str, inside: list[str], outside: list[str]) -> None:
    """A night belongs to the day on which it begins: Friday's ends on Saturday morning, and Monday's begins late."""
    hours = Hours.parse(written)
    assert [when for when in inside if not hours.cover(moment(when))] == []
    assert [when for when in outside if hours.cover(moment(when))] == []


@pytest.mark.parametrize("written", ["", "monday", "18-07", "25:00-07:00", "07:60-08:00", "mon 7:00-8:00", "mon-"])
def test_hours_that_cannot_be_read(written: str) -> None:
    """Anything else is refused with how hours are written."""
    with pytest.raises(ValueError, match="expected"):
        Hours.parse(written)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"alert": [{"name": "a"}]}, "an alert needs a finding, peers or hours"),
        ({"alert": [{"name": "a", "hours": ["sat"], "notify": ["x"]}]}, "need a finding"),
        ({"alert": [{"name": "a", "finding": "Mass", "from": "below"}]}, "alert.0.from"),
        ({"alert": [{"name": "a", "finding": "Mass", "hours": ["noon"]}]}, "found 'noon', expected days"),
        ({"alert": [{"name": "a", "finding": "Mass", "notify": ["pager"]}], "notifier": [MAIL]},
         "notify names 'pager', expected some of 'mail'"),
        ({"alert": [{"name": "a", "peers": ["ER2"]}], "peer": [{"ae_title": "ER1", "host": "h"}]},
         "peers names 'ER2', expected some of 'ER1'"),
        ({"alert": [{"name": "a", "finding": "Mass"}] * 2}, "alert.name must be unique"),
        ({"notifier": [MAIL, MAIL]}, "notifier.name must be unique"),
        ({"notifier": [{"type": "pigeon", "name": "p"}]}, "'webhook', 'email', 'apprise'"),
        ({"notifier": [{**HOOK, "url": "ftp://x/"}]}, "expected https://HOST/PATH"),
        ({"notifier": [{**HOOK, "url": "https://u:p@x/"}]}, "no user and password"),
        ({"notifier": [{**HOOK, "proxy": "proxy:3128"}]}, "proxy: expected http://HOST:PORT"),
        ({"notifier": [{"type": "apprise", "name": "c", "urls_file": "f", "identifiers": "patient"}]}, "identifiers"),
        ({"notifier": [{**HOOK, "secret": ""}]}, "secret or secret_file"),
        ({"notifier": [{**HOOK, "url": "http://x/", "identifiers": "patient"}]}, "needs an https URL"),
        ({"notifier": [{**HOOK, "link": "https://viewer/"}]}, "with {study_instance_uid} in it once"),
        ({"notifier": [{**HOOK, "link": "https://v/{study_instance_uid}", "identifiers": "none"}]}, "keeps back"),
        ({"notifier": [{**MAIL, "user": "u"}]}, "needed together"),
        ({"notifier": [{**MAIL, "tls": "none", "user": "u", "password_file": "f"}]}, "password in clear"),
        ({"notifier": [{**MAIL, "tls": "none", "identifiers": "patient"}]}, "starttls"),
        ({"notifier": [{**MAIL, "recipients": []}]}, "recipients"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(tables: dict[str, object], said: str) -> None:
    """A table that would never do what it seems to, or would show patients to others, is named with the reason."""
    environ = {f"HILUM__{name.upper()}": json.dumps(value) for name, value in tables.items()}
    with pytest.raises(ConfigurationError) as refused:
        load(None, environ)
    assert said in str(refused.value)
    assert "whsec_" not in str(refused.value)
