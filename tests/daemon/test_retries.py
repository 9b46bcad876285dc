"""When what failed is tried again."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.sections import DeliverySettings, DestinationSettings
from daemon import retries
from daemon.channel import Channel
from daemon.delivery.courier import BREAKS, Courier
from daemon.runtime.doorbell import Doorbell
from storage.notices import Notification
from storage.records import Delivery, Sent
from storage.store import open_store
from tests.conftest import wait_for
from tests.support.studies import analysed

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AWAY = Sent("UNREACHABLE", None, "no answer")


def delivery(attempts: int) -> Delivery:
    """An object that was made at `BEGAN` and has been tried so often."""
    return Delivery(1, 1, "1.2.3", "pacs", "sr", "1.2", "1.3", "1.2.1", b"", attempts, BEGAN)


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 5), (1, 10), (3, 40), (6, 320), (7, 600), (10_000, 600)])
def test_the_pause_doubles_up_to_the_longest(attempts: int, seconds: float) -> None:
    """5 s after the first failure, then twice as long each time, at most 600 s."""
    attempt = retries.after_sending(delivery(attempts), AWAY, BEGAN, DeliverySettings())
    assert attempt.next_attempt_at == BEGAN + timedelta(seconds=seconds)


@pytest.mark.parametrize("outcome", ["ACCEPTED", "WARNING", "REFUSED"])
def test_an_answer_is_final(outcome: str) -> None:
    """Only UNREACHABLE and FAILED are tried again."""
    sent = Sent(outcome, 0x0000)
    attempt = retries.after_sending(delivery(0), sent, BEGAN, DeliverySettings())
    assert (attempt.sent, attempt.next_attempt_at) == (sent, None)


def test_it_is_given_up_after_the_configured_time() -> None:
    """Past `give_up_after_seconds` it counts as refused, with the last trouble in its comment; 0 is never."""
    late = BEGAN + timedelta(seconds=101)
    given_up = retries.after_sending(delivery(4), AWAY, late, DeliverySettings(give_up_after_seconds=100))
    assert (given_up.sent.outcome, given_up.sent.comment) == ("REFUSED", "given up: no answer")
    assert given_up.next_attempt_at is None
    assert retries.after_sending(delivery(4), AWAY, late, DeliverySettings()).next_attempt_at is not None


@pytest.mark.parametrize(
    ("failures", "hours", "outcome"),
    [(0, 0, "FAILED"), (6, 9, "FAILED"), (7, 0.9, "FAILED"), (7, 1, "REFUSED"), (99, 1, "REFUSED")],
)
def test_an_object_that_is_always_answered_with_a_failure_goes_to_a_person(
    failures: int, hours: float, outcome: str
) -> None:
    """After eight such answers over at least an hour, with the destination's last words."""
    tried = replace(delivery(failures), failures=failures, first_failed_at=BEGAN)
    sent = Sent("FAILED", 0x0110, "cannot update the database")
    attempt = retries.after_sending(tried, sent, BEGAN + timedelta(hours=hours), DeliverySettings())
    assert (attempt.sent.outcome, attempt.next_attempt_at is None) == (outcome, outcome == "REFUSED")
    if outcome == "REFUSED":
        assert attempt.sent.comment == f"answered so {failures + 1} times: cannot update the database"


@pytest.mark.parametrize(
    ("outcome", "hours", "recorded", "pause"),
    [
        ("UNREACHABLE", 1, "UNREACHABLE", 20),
        ("FAILED", 1, "FAILED", 20),
        ("FAILED", 25, "REFUSED", None),
        ("REFUSED", 1, "REFUSED", None),
        ("ACCEPTED", 25, "ACCEPTED", None),
    ],
)
def test_a_notification_is_tried_again_for_a_day(
    outcome: str, hours: float, recorded: str, pause: float | None
) -> None:
    """With the pauses of deliveries, as long as `give_up_after_seconds` says."""
    due = Notification(1, "id", 1, "1.2.3", "", "", BEGAN, {}, 2, BEGAN)
    late = BEGAN + timedelta(hours=hours)
    attempt = retries.after_notifying(due, Sent(outcome, None, "why"), late, DeliverySettings(), 86_400)
    assert attempt.sent.outcome == recorded
    assert attempt.next_attempt_at == (late + timedelta(seconds=pause) if pause else None)


def test_a_part_that_keeps_ending_waits_longer_and_longer() -> None:
    """0.1 s after the first end, at most 30 s."""
    assert [retries.restart_pause(n) for n in (1, 2, 3, 9, 10, 99)] == [0.1, 0.2, 0.4, 25.6, 30.0, 30.0]


class PickyChannel(Channel):
    """A destination that answers the object of the first study with a failure and accepts every other."""

    def send(self, delivery: Delivery) -> Sent:
        return Sent("FAILED", 0x0110, "no") if delivery.data == b"1.2.3.9" else Sent("ACCEPTED", 0x0000)

    def test(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


def test_a_failure_holds_back_no_other_object(tmp_path: Path) -> None:
    """The object that was answered with a failure waits; those that stand after it are sent in the same round."""
    journal = open_store("", tmp_path).journal
    for study in ("1.2.3", "1.2.4", "1.2.5"):
        analysed(journal, study, "pacs")
    policy = DeliverySettings(first_retry_seconds=0.05, give_up_after_seconds=0)
    destination = DestinationSettings(type="dicom", name="pacs")
    courier = Courier(policy, destination, PickyChannel(), journal, Doorbell(), threading.Event())
    assert courier.deliver_due() == 3
    assert journal.counts()["DELIVERED"] == 2


class BreakingChannel(Channel):
    """A destination that breaks off at the object that it got first, and accepts every other."""

    first, there = "", True

    def send(self, delivery: Delivery) -> Sent:
        self.first = self.first or delivery.sop_instance_uid
        return AWAY if delivery.sop_instance_uid == self.first or not self.there else Sent("ACCEPTED", 0x0000)

    def test(self) -> str:
        return "" if self.there else "no answer"

    def close(self) -> None:
        """Nothing is open."""


def test_an_object_at_which_the_destination_breaks_off_does_not_block_the_others(tmp_path: Path) -> None:
    """After three such attempts the object alone waits, as long as the destination answers anything at all."""
    journal, channel = open_store("", tmp_path).journal, BreakingChannel()
    for study in ("1.2.3", "1.2.4", "1.2.5"):
        analysed(journal, study, "pacs")
    policy = DeliverySettings(first_retry_seconds=0.01, longest_retry_seconds=0.01, give_up_after_seconds=0)
    destination = DestinationSettings(type="dicom", name="pacs")
    courier = Courier(policy, destination, channel, journal, Doorbell(), threading.Event())

    def tried() -> int:
        return wait_for(courier.deliver_due, 5, "the next attempt")

    assert [tried() for _ in range(BREAKS)] == [1] * BREAKS
    channel.there = False
    assert tried() == 1, "a destination that is away gets nothing more in this round"
    channel.there = True
    assert tried() == 3
    assert journal.counts()["DELIVERED"] == 2
    channel.first = "another"
    assert tried() == 1
    assert journal.counts()["DELIVERED"] == 3
