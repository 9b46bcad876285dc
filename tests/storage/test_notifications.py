"""Notifications: written with the analysis or not at all, each attempt on record, none told twice of the same."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import StatementError

from storage.journal import Journal
from storage.notices import Notice, Raised
from storage.queries import Queries
from storage.records import Attempt, Sent, Study
from tests.support.studies import at, image, outcome, report, take_up

pytest_plugins = ["tests.support.postgres"]


def notice(*calls: str, notifier: str = "hook") -> Notice:
    return Notice(notifier, {"findings": [{"finding": f"Finding {n}", "call": call} for n, call in enumerate(calls)]})


def alarmed(journal: Journal, study: Study, *notices: Notice, seconds: float = 61) -> None:
    """The analysis of a study raises an alert."""
    said = outcome(study, report(f"{study.study_instance_uid}.{study.revision}9", "pacs"))
    journal.analysed(study, replace(said, raised=Raised(("urgent",), notices)), at(seconds))


def due(journal: Journal, seconds: float = 100, notifier: str = "hook") -> list[Any]:
    return journal.notifications_due(notifier, at(seconds), 10)


def events(engine: Engine, event: str) -> list[dict[str, Any]]:
    return [row["detail"] for row in Queries(engine).events("1.2.3", event=event)]


def test_a_notification_is_written_with_the_analysis(journal: Journal, engine: Engine) -> None:
    """It is due at once, with what the journal knows of the study, and the trail says which alert was raised."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    alarmed(journal, study, notice("above"), notice("above", notifier="mail"))
    (one,) = due(journal)
    assert (one.study_instance_uid, one.patient_id, one.accession_number) == ("1.2.3", "PAT1", "ACC1")
    assert (one.received_at, one.created_at, one.attempts) == (at(0), at(61), 0)
    (other,) = due(journal, notifier="mail")
    assert one.message_id != other.message_id
    assert events(engine, "ALERTED") == [{"alerts": ["urgent"], "notifiers": ["hook", "mail"]}]
    assert journal.notification_counts() == {("hook", "PENDING"): 1, ("mail", "PENDING"): 1}


@pytest.mark.parametrize("fault", ["a notification", "a result object"])
def test_analysis_and_notification_are_one_transaction(journal: Journal, engine: Engine, fault: str) -> None:
    """If one of them cannot be written, the other is not written either, and nobody is told of it."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    told = notice("above")
    if fault == "a notification":
        told.content["no JSON"] = object()
    made = report("1.2.3.9", "pacs")
    broken = replace(made, sop_class_uid=None) if fault == "a result object" else made  # type: ignore[arg-type]
    with pytest.raises((StatementError, TypeError)):
        journal.analysed(study, replace(outcome(study, broken), raised=Raised(("urgent",), (told,))), at(61))
    assert due(journal) == []
    assert journal.due("pacs", at(70), 10) == []
    assert not events(engine, "ALERTED")
    assert not events(engine, "ANALYSED")
    alarmed(journal, study, notice("above"))
    assert len(due(journal)) == len(journal.due("pacs", at(70), 10)) == 1


def test_the_urgent_study_goes_first(journal: Journal) -> None:
    """Its deliveries overtake those that waited before, and so does its next analysis."""
    for number in (1, 2):
        journal.received(image(f"1.2.{number}"), at(number))
    first, second = take_up(journal)
    journal.analysed(first, outcome(first, report("1.2.1.9", "pacs")), at(61))
    alarmed(journal, second)
    assert [d.study_instance_uid for d in journal.due("pacs", at(70), 10)] == ["1.2.2", "1.2.1"]
    for number in (1, 2):
        journal.received(image(f"1.2.{number}", number=2), at(80 + number))
    assert [s.study_instance_uid for s in take_up(journal, 200)] == ["1.2.2", "1.2.1"]


def test_earlier_deliveries_of_the_study_go_first_too(journal: Journal) -> None:
    """What an earlier analysis left waiting is not overtaken by other studies."""
    for number in (1, 2):
        journal.received(image(f"1.2.{number}"), at(number))
    first, second = take_up(journal)
    journal.analysed(first, outcome(first, report("1.2.1.9", "pacs")), at(61))
    journal.analysed(second, outcome(second, report("1.2.2.9", "pacs")), at(61))
    journal.received(image("1.2.2", number=2), at(80))
    (again,) = take_up(journal, 200)
    alarmed(journal, again, seconds=201)
    assert [d.study_instance_uid for d in journal.due("pacs", at(300), 10)] == ["1.2.2", "1.2.2", "1.2.1"]


@pytest.mark.parametrize(
    ("earlier", "later", "told"),
    [
        (["above"], ["above"], 1),
        (["near"], ["above"], 2),
        (["above"], ["above", "near"], 2),
        (["above", "near"], ["above"], 1),
    ],
)  # fmt: skip
def test_a_replay_tells_what_is_new_alone(
    journal: Journal, engine: Engine, earlier: list[str], later: list[str], told: int
) -> None:
    """The same findings with the same calls are told once; one that came to it, or another call, is told."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    alarmed(journal, study, notice(*earlier))
    journal.replay("1.2.3", at(70))
    (study,) = take_up(journal, 80)
    alarmed(journal, study, notice(*later), seconds=81)
    assert len(due(journal)) == told
    assert len(events(engine, "ALERTED")) == 2


def test_each_attempt_is_on_record(journal: Journal, engine: Engine) -> None:
    """A failure leaves it due later, the end is recorded once, and a commit whose answer was lost changes nothing."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    alarmed(journal, study, notice("above"), notice("above", notifier="mail"))
    (one,) = due(journal)
    journal.notified(Attempt(one.id, Sent("FAILED", None, "HTTP 500"), at(200)), at(101))
    assert due(journal, 199) == []
    assert [n.message_id for n in due(journal, 200)] == [one.message_id]
    for _ in range(2):
        journal.notified(Attempt(one.id, Sent("ACCEPTED", None, "HTTP 204")), at(201))
    assert due(journal, 1000) == []
    assert [(row["outcome"], row["attempts"]) for row in events(engine, "NOTIFICATION")] == [
        ("FAILED", 1),
        ("ACCEPTED", 2),
    ]
    assert journal.notification_counts() == {("hook", "ACCEPTED"): 1, ("mail", "PENDING"): 1}


def test_a_notifier_that_fails_postpones_its_own_alone(journal: Journal) -> None:
    """Others are not held back."""
    for number in (1, 2):
        journal.received(image(f"1.2.{number}"), at(number))
    for study in take_up(journal):
        alarmed(journal, study, notice("above"), notice("above", notifier="mail"))
    assert journal.postpone_notifications("hook", at(500)) == 2
    assert (len(due(journal, 499)), len(due(journal, 500)), len(due(journal, 499, "mail"))) == (0, 2, 2)


def test_a_clock_that_was_set_back_holds_nothing_up(journal: Journal) -> None:
    """What would wait for hours is due at once."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    alarmed(journal, study, notice("above"), seconds=7200)
    later: datetime = at(100)
    assert due(journal, 100) == []
    journal.bring_forward(later, 60)
    assert len(due(journal, 100)) == 1
