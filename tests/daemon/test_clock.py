"""The wall clock may be set by an hour: nothing waits for an hour, and no study's settle time is cut."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from config.sections import DeliverySettings
from daemon.delivery.due_times import CHECK_SECONDS, DueTimes
from daemon.runtime import log
from daemon.runtime.clock import ClockWatch, Settling
from storage.database import open_database
from storage.journal import Journal
from storage.records import Attempt
from tests.support.studies import UNREACHABLE, analysed, at, image, take_up

HOUR = 3600.0
POLICY = DeliverySettings(longest_retry_seconds=600.0, give_up_after_seconds=1800.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(open_database("", tmp_path))


@pytest.fixture(autouse=True)
def logs() -> None:
    log.configure("info", "test")


def warnings(captured: str) -> list[str]:
    return [json.loads(line)["event"] for line in captured.splitlines()]


def test_a_step_is_what_the_other_clock_did_not_do() -> None:
    """Time that passes on both clocks is no step, and neither is a small correction."""
    watch = ClockWatch(at(0), 100.0)
    assert watch.step(at(50), 150.0) == 0.0
    assert watch.step(at(51 + HOUR), 151.0) == HOUR
    assert watch.step(at(52 + HOUR), 152.0) == 0.0
    assert watch.step(at(53), 153.0) == -HOUR
    assert watch.step(at(54 + 1), 154.0) == 0.0


def test_a_study_keeps_its_settle_time_when_the_clock_goes_forward(journal: Journal) -> None:
    """An hour forward a second after the image: the study is taken up when it has really settled, not at once."""
    settling = Settling(10.0, at(0), 0.0)
    journal.received(image("1.2"), at(0))

    def taken(wall: float, monotonic: float) -> int:
        return len(journal.settled(at(wall), settling.seconds(at(wall), monotonic), 10, "worker"))

    assert taken(1, 1.0) == 0
    assert taken(2 + HOUR, 2.0) == 0
    journal.received(image("1.3"), at(HOUR + 3))
    assert taken(9 + HOUR, 9.0) == 0
    assert taken(10.5 + HOUR, 10.5) == 1
    assert taken(12.5 + HOUR, 12.5) == 0, "the later study has its settle time, too"
    assert taken(13.5 + HOUR, 13.5) == 1


def test_a_clock_set_back_holds_nothing_up(journal: Journal, capfd: pytest.CaptureFixture[str]) -> None:
    """An hour back: the study and the delivery that waited go on at once, and the log has one warning."""
    analysed(journal, "1.1", "pacs")
    (delivery,) = journal.due("pacs", at(100), 10)
    journal.sent(Attempt(delivery.id, UNREACHABLE, at(700)), at(100))
    journal.received(image("1.2"), at(100))
    times = DueTimes(POLICY, journal, at(100), 0.0)
    assert not times.look(at(101), 1.0)
    assert times.look(at(102 - HOUR), 2.0)
    assert len(journal.due("pacs", at(102 - HOUR), 10)) == 1
    assert len(take_up(journal, 106 - HOUR)) == 1
    assert not times.look(at(103 - HOUR), 3.0)
    assert warnings(capfd.readouterr().err) == ["the clock was set"]


def test_what_nobody_saw_is_put_right_as_well(journal: Journal, capfd: pytest.CaptureFixture[str]) -> None:
    """Times an hour ahead, left from before a start, are brought forward within a minute; a pause is left alone."""
    analysed(journal, "1.1", "pacs")
    (delivery,) = journal.due("pacs", at(100), 10)
    journal.sent(Attempt(delivery.id, UNREACHABLE, at(700)), at(100))
    times = DueTimes(POLICY, journal, at(101), 0.0)
    times.look(at(101), 0.0)
    assert journal.due("pacs", at(102), 10) == [], "ten minutes are a pause of the configuration"
    journal.postpone("pacs", at(700 + HOUR))
    journal.received(image("1.2"), at(100 + HOUR))
    times.look(at(101 + CHECK_SECONDS), CHECK_SECONDS)
    assert CHECK_SECONDS < 60
    assert len(journal.due("pacs", at(101 + CHECK_SECONDS), 10)) == 1
    assert len(take_up(journal, 105 + CHECK_SECONDS)) == 1
    assert warnings(capfd.readouterr().err) == ["due times were too far ahead"]


def test_a_clock_set_forward_gives_nothing_up(journal: Journal) -> None:
    """An hour forward makes no result older: none is given up after `delivery.give_up_after_seconds`."""
    analysed(journal, "1.1", "pacs")  # made at 61
    times = DueTimes(POLICY, journal, at(100), 0.0)
    times.look(at(121 + HOUR), 21.0)
    (delivery,) = journal.due("pacs", at(121 + HOUR), 10)
    assert at(121 + HOUR) - delivery.created_at == timedelta(seconds=60)
