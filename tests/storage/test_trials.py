"""Models on trial: their analyses wait, are taken up, and end, without a change to the study."""

import pytest
from sqlalchemy import Engine

from storage.analyses import InstanceOutcome, ModelOutcome, UsedModel
from storage.errors import WrongState
from storage.journal import Journal
from storage.queries import Queries
from storage.records import Trial
from tests.support.studies import at, deliver, image, outcome, report, take_up

pytest_plugins = ["tests.support.postgres"]
NEXT = UsedModel("next")


def tried(journal: Journal, *studies: str, trials: tuple[UsedModel, ...] = (NEXT, UsedModel("other"))) -> None:
    """Studies that the model in use has analysed, and that wait for models on trial."""
    for uid in studies:
        journal.received(image(uid), at(0))
        (study,) = take_up(journal)
        made = outcome(study, report(f"{uid}.9", "pacs"), model=UsedModel("chest"), trials=trials)
        journal.analysed(study, made, at(61))


def said(trial: Trial, call: str = "above") -> ModelOutcome:
    findings = [{"finding": "Effusion", "call": call, "score": 70}]
    images = (InstanceOutcome(trial.study.instances[0].id, "analysed", "", {"findings": findings}),)
    return ModelOutcome(UsedModel("next", "CXR", "5", "sha256:5"), images, findings, started_at=at(62))


def test_a_trial_is_taken_up_once_and_leaves_the_study_as_it_is(engine: Engine, journal: Journal) -> None:
    """The analyses of one model come together; what was said is kept beside that of the model in use, which counts."""
    tried(journal, "1.2.1", "1.2.2")
    trials = journal.waiting_trials(8, "worker")
    assert [(t.model, t.study.study_instance_uid) for t in trials] == [("next", "1.2.1"), ("next", "1.2.2")]
    assert [t.model for t in journal.waiting_trials(8, "another")] == ["other", "other"]
    assert journal.waiting_trials(8, "third") == []
    before = Queries(engine).studies()
    journal.tried([(trial, said(trial)) for trial in trials], at(63))
    assert Queries(engine).studies() == before
    assert [a["state"] for a in Queries(engine).analyses("1.2.1")] == ["DONE", "DONE", "WAITING"]
    assert Queries(engine).analyses("1.2.1")[1]["bundle_digest"] == "sha256:5"
    assert deliver(journal, "pacs") == ["1.2.1.9", "1.2.2.9"]


def test_a_trial_that_kills_its_worker_fails_alone(engine: Engine, journal: Journal) -> None:
    """After a death each comes alone; after the second it has failed, and the study goes its way."""
    tried(journal, "1.2.1", "1.2.2", trials=(NEXT,))
    assert len(journal.waiting_trials(8, "w@1")) == 2
    journal.release_claims("w@1")
    assert [t.attempts for t in journal.waiting_trials(8, "w@1")] == [2]
    journal.release_claims("w@1")
    assert [t.study.study_instance_uid for t in journal.waiting_trials(8, "w@1")] == ["1.2.2"]
    failed = Queries(engine).analyses("1.2.1")[1]
    assert (failed["state"], failed["reason"]) == ("FAILED", "the analysis died twice: see the log")
    assert {row["state"] for row in Queries(engine).studies()} == {"ANALYSED"}


def test_a_death_of_the_whole_daemon_is_forgiven(journal: Journal) -> None:
    """The next life takes the trials up as if for the first time."""
    tried(journal, "1.2.1")
    assert journal.waiting_trials(8, "w@1")
    journal.forgive_claims("2")
    assert [t.attempts for t in journal.waiting_trials(8, "w@2")] == [1]


def test_a_trial_is_replaced_by_the_next_analysis(engine: Engine, journal: Journal) -> None:
    """A late image makes a new analysis; one that is under way for the former images is not written any more."""
    tried(journal, "1.2.1")
    (trial,) = journal.waiting_trials(1, "w")
    journal.received(image("1.2.1", number=2), at(100))
    (study,) = take_up(journal, 200)
    journal.analysed(study, outcome(study, model=UsedModel("chest"), trials=(NEXT,)), at(201))
    journal.tried([(trial, said(trial))], at(202))
    states = [(a["model"], a["state"], a["current"]) for a in Queries(engine).analyses("1.2.1")]
    assert states == [
        ("chest", "DONE", 0), ("next", "REPLACED", 0), ("other", "REPLACED", 0), ("chest", "DONE", 1),
        ("next", "WAITING", 1),
    ]  # fmt: skip


def test_a_promotion_and_its_undoing_are_on_record(engine: Engine, journal: Journal) -> None:
    """The last word counts, and each is a row of the audit trail."""
    assert journal.promotions() == []
    with pytest.raises(WrongState, match="nothing to roll back"):
        journal.roll_back(at(0))
    journal.promote("next", "chest", at(1), "operator a")
    assert journal.roll_back(at(2), "operator b") == ("chest", "next")
    assert journal.promotions() == [("next", "chest"), ("chest", "next")]
    events = [(e["event"], e["actor"], e["detail"]) for e in Queries(engine).events()]
    assert events == [
        ("MODEL_PROMOTED", "operator a", {"model": "next", "instead_of": "chest"}),
        ("MODEL_ROLLED_BACK", "operator b", {"model": "chest", "instead_of": "next"}),
    ]


def test_two_models_are_compared_by_the_images_that_both_saw(engine: Engine, journal: Journal) -> None:
    """Each image once, with the newest result of each model; a study that only one of them saw is left out."""
    tried(journal, "1.2.1", "1.2.2")
    trials = journal.waiting_trials(1, "w")
    journal.tried([(trial, said(trial)) for trial in trials], at(63))
    (pair,) = Queries(engine).compared("chest", "next")
    assert (pair["study_instance_uid"], pair["first"], pair["second"]["findings"][0]["call"]) == (
        "1.2.1", {"analysed": True}, "above",
    )  # fmt: skip
    assert Queries(engine).compared("chest", "next", since=at(62)) == []
    assert Queries(engine).model_names() == ["chest", "next", "other"]
