"""The journal: where every study stands, one transaction and one audit row for each change, whatever happens."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from storage.analyses import InstanceOutcome, UsedModel
from storage.audit import Trail
from storage.database import open_database, reading
from storage.errors import UnknownStudy, WrongState
from storage.journal import Journal
from storage.journal.transactions import FAULT_VERBS
from storage.queries import Queries
from storage.records import (
    Arrival,
    Attempt,
    Compared,
    Held,
    Likeness,
    PendingCommitRequest,
    Sent,
)
from tests.conftest import ROOT
from tests.support.studies import (
    ACCEPTED,
    REFUSED,
    UNREACHABLE,
    analysed,
    at,
    deliver,
    image,
    outcome,
    report,
    take_up,
)

pytest_plugins = ["tests.support.postgres"]


def state(engine: Engine, study: str = "1.2.3") -> str:
    (row,) = Queries(engine).studies(study_instance_uid=study)
    return str(row["state"])


def moves(engine: Engine, study: str = "1.2.3") -> list[str]:
    """The transitions of a study, as the audit trail has them."""
    rows = Queries(engine).events(study_instance_uid=study)
    return [f"{row['from_state']}>{row['to_state']}" for row in rows if row["to_state"]]


# --- the straight line ---------------------------------------------------------------------------------------------


def test_one_audit_row_for_each_transition(engine: Engine, journal: Journal) -> None:
    """The straight line leaves exactly one row for each arrow, and the chain is sound."""
    analysed(journal, "1.2.3", "pacs")
    assert deliver(journal, "pacs") == ["1.2.3.9"]
    assert moves(engine) == [">RECEIVED", "RECEIVED>ANALYSED", "ANALYSED>DELIVERED"]
    events = [row["event"] for row in Queries(engine).events(study_instance_uid="1.2.3")]
    assert events == ["RECEIVED", "ANALYSED", "SENT", "DELIVERED"]
    assert Trail(engine).verify() == []


def test_a_study_is_taken_up_once_it_has_settled(journal: Journal) -> None:
    """No study is taken up while instances still come in."""
    journal.received(image(number=1), at(0))
    journal.received(image(number=2), at(2))
    assert journal.settled(at(4.9), 3.0, 10, "w") == []
    (study,) = journal.settled(at(5), 3.0, 10, "w")
    assert [i.sop_instance_uid for i in study.instances] == ["1.2.3.1", "1.2.3.2"]
    assert (study.attempts, study.revision, study.received_at, study.earlier) == (1, 1, at(0), ())


def test_nobody_takes_up_what_another_has(journal: Journal) -> None:
    """A study is with one worker at a time."""
    for number in range(5):
        journal.received(image(f"1.2.{number}"), at(number))
    first, second = take_up(journal, worker="a", limit=3), take_up(journal, worker="b")
    assert [s.study_instance_uid for s in first] == ["1.2.0", "1.2.1", "1.2.2"]
    assert [s.study_instance_uid for s in second] == ["1.2.3", "1.2.4"]


def test_urgent_studies_come_first(journal: Journal) -> None:
    """Order: priority, then age; deliveries of an urgent study come first too."""
    journal.received(image("1.2.1", priority=2), at(0))
    journal.received(image("1.2.2", priority=1), at(1))
    journal.received(image("1.2.3", priority=0), at(2))
    studies = take_up(journal)
    assert [s.study_instance_uid for s in studies] == ["1.2.3", "1.2.2", "1.2.1"]
    done = [(s, outcome(s, report(f"{s.study_instance_uid}.9", "pacs"))) for s in reversed(studies)]
    journal.analysed_many(done, at(61))
    assert [d.study_instance_uid for d in journal.due("pacs", at(62), 2)] == ["1.2.3", "1.2.2"]


def test_claims_of_a_worker_that_died_are_open_again(journal: Journal) -> None:
    """At its restart a worker's claims are released, its tries stay counted, and other workers keep theirs."""
    journal.received(image("1.2.1"), at(0))
    take_up(journal, worker="a")
    journal.received(image("1.2.2"), at(0))
    take_up(journal, worker="b")
    assert journal.release_claims("a") == 1
    (study,) = take_up(journal, worker="a")
    assert (study.study_instance_uid, study.attempts) == ("1.2.1", 2)


def test_a_daemon_that_was_ended_forgives_the_tries(journal: Journal) -> None:
    """Claims of an earlier daemon are opened with the try not counted; those of this daemon stay."""
    journal.received(image("1.2.1"), at(0))
    take_up(journal, worker="analyse-1@old")
    journal.received(image("1.2.2"), at(0))
    take_up(journal, worker="analyse-1@new")
    assert journal.forgive_claims("@new") == 1
    (study,) = take_up(journal, worker="analyse-2@new")
    assert (study.study_instance_uid, study.attempts) == ("1.2.1", 1)


def test_poison_is_quarantined_at_the_third_take(engine: Engine, journal: Journal) -> None:
    """A study whose analysis kills the worker comes alone on its second try, and given up at the third."""
    journal.received(image("1.2.1"), at(0))
    journal.received(image("1.2.2"), at(0))
    assert len(take_up(journal)) == 2
    journal.release_claims("worker")
    for uid in ("1.2.1", "1.2.2"):
        (alone,) = take_up(journal)
        assert (alone.study_instance_uid, alone.attempts) == (uid, 2)
        if uid == "1.2.1":  # dies again
            journal.release_claims("worker")
            journal.received(image("1.2.9"), at(0))
            (poison,) = take_up(journal, limit=1)
            assert (poison.study_instance_uid, poison.given_up) == ("1.2.1", True)
            (healthy,) = take_up(journal, limit=1)
            assert not healthy.given_up
            assert healthy.study_instance_uid == "1.2.2"
            journal.unclaim(healthy.id, at(0), "")
    (row,) = Queries(engine).quarantined()
    assert row["study_instance_uid"] == "1.2.1"
    assert "analysis died twice" in row["reason"]
    assert moves(engine, "1.2.1") == [">RECEIVED", "RECEIVED>QUARANTINED"]


def test_a_study_in_quarantine_may_have_objects_that_say_so(engine: Engine, journal: Journal) -> None:
    """They are delivered while it stays there; a release analyses it again, even where such an object was refused."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    journal.quarantine(study.id, "unexpected", at(61), objects=[report("1.2.3.9", "pacs")])
    assert deliver(journal, "pacs", REFUSED) == ["1.2.3.9"]
    assert state(engine) == "QUARANTINED"
    journal.retry("1.2.3", at(150))
    assert deliver(journal, "pacs", REFUSED, 160) == ["1.2.3.9"]
    assert state(engine) == "QUARANTINED"
    journal.release("1.2.3", at(170))
    assert moves(engine)[-1] == "QUARANTINED>RECEIVED"


def test_trouble_of_the_machine_does_not_count(journal: Journal) -> None:
    """A study given back for the disk's or the database's trouble waits, and has as many tries as before."""
    journal.received(image(), at(0))
    for _ in range(5):
        (study,) = take_up(journal)
        assert study.attempts == 1
        journal.unclaim(study.id, at(70), "the disk is full")
        assert take_up(journal, 69) == []
        (study,) = take_up(journal, 70)
        journal.unclaim(study.id, at(50), "again")


# --- objects that come again, late, or wrong -----------------------------------------------------------------------


def test_the_same_bytes_again_are_no_new_work(engine: Engine, journal: Journal) -> None:
    """A duplicate is noted and nothing else."""
    analysed(journal, "1.2.3", "pacs")
    assert journal.received(image(), at(70)) is Arrival.DUPLICATE
    assert state(engine) == "ANALYSED"
    assert take_up(journal, 1000) == []
    assert [row["event"] for row in Queries(engine).events()][-1] == "DUPLICATE"


def test_other_bytes_under_the_same_uid_are_set_aside(engine: Engine, journal: Journal) -> None:
    """A conflict raises a security event; the first bytes count, the others are kept once for a person."""
    first = image(sha256="first")
    other = image(sha256="other", spooled=image(number=7).spooled)
    again = image(sha256="other", spooled=type(other.spooled)("objects/00/again", 1000, other.spooled.sha256))
    assert journal.received(first, at(0)) is Arrival.NEW
    assert journal.received(other, at(1)) is Arrival.UNCOMPARED
    assert journal.received(other, at(1), Compared("of another", Likeness.OTHER)) is Arrival.UNCOMPARED
    differs = Compared("first", Likeness.OTHER)
    assert journal.received(other, at(1), differs) is Arrival.CONFLICT
    assert journal.received(again, at(2), differs) is Arrival.CONFLICT
    assert journal.holds(first.sop_class_uid, first.sop_instance_uid) == Held(first.spooled.name, "first")
    known = [journal.knows(o.spooled.name) for o in (first, other, again)]
    assert known == [True, True, False]
    assert [row["event"] for row in Queries(engine).events()] == ["RECEIVED", "SECURITY", "SECURITY"]
    (kept,) = Queries(engine).conflicts()
    assert kept["sha256"] == other.spooled.sha256


def test_a_correction_takes_the_place_of_what_it_corrects(engine: Engine, journal: Journal) -> None:
    """The newer header's values are the study's, it is analysed again, and both files stay known."""
    analysed(journal, "1.2.3", "pacs")
    first, corrected = image(), image(sha256="new", spooled=image(number=7).spooled, patient_id="A-1")
    same = Compared(first.spooled.sha256, Likeness.CORRECTED)
    assert journal.received(corrected, at(70), same) is Arrival.CORRECTED
    assert (state(engine), Queries(engine).studies()[0]["patient_id"]) == ("RECEIVED", "A-1")
    assert journal.knows(first.spooled.name)
    assert journal.knows(corrected.spooled.name)
    assert journal.received(first, at(80)) is Arrival.DUPLICATE, "what was corrected says nothing new"
    (study,) = take_up(journal, 200)
    assert [made.kind for made in study.earlier] == ["sr"]
    assert Trail(engine).verify() == []


def test_a_status_holds_back_its_object_alone(engine: Engine, journal: Journal) -> None:
    """FAILED counts against the object; the others stay due. A person's retry counts from none again."""
    analysed(journal, "1.2.1", "pacs")
    analysed(journal, "1.2.2", "pacs")
    first, second = journal.due("pacs", at(100), 9)
    journal.sent(Attempt(first.id, Sent("FAILED", 0x0110, "database"), at(160)), at(100))
    assert [d.id for d in journal.due("pacs", at(101), 9)] == [second.id]
    (again,) = [d for d in journal.due("pacs", at(160), 9) if d.id == first.id]
    assert (again.attempts, again.failures, again.first_failed_at) == (1, 1, at(100))
    journal.sent(Attempt(first.id, Sent("REFUSED", 0x0110, "answered so 8 times: database")), at(161))
    (row,) = Queries(engine).quarantined()
    assert row["reason"] == "refused by pacs with status 0x0110: answered so 8 times: database"
    journal.retry("1.2.1", at(170))
    assert [d.failures for d in journal.due("pacs", at(170), 9) if d.id == first.id] == [0]


@pytest.mark.parametrize("until", ["ANALYSED", "DELIVERED", "COMMITTED", "IGNORED"])
def test_a_late_image_makes_a_second_report(engine: Engine, journal: Journal, until: str) -> None:
    """A late image opens the finished study again; its second analysis knows the first report."""
    if until == "IGNORED":
        journal.received(image(), at(0))
        (study,) = take_up(journal)
        journal.analysed(study, outcome(study, state="IGNORED", reason="lateral"), at(61))
    else:
        analysed(journal, "1.2.3", "pacs", committing=("pacs",))
    if until in ("DELIVERED", "COMMITTED"):
        deliver(journal, "pacs")
    if until == "COMMITTED":
        commit(journal, "pacs", "1.9")
    assert state(engine) == until
    journal.received(image(number=2), at(200))
    assert moves(engine)[-1] == f"{until}>RECEIVED"
    (study,) = take_up(journal, 300)
    assert (study.revision, study.attempts, len(study.instances)) == (2, 1, 2)
    assert [r.sop_instance_uid for r in study.earlier] == ([] if until == "IGNORED" else ["1.2.3.9"])
    journal.analysed(study, outcome(study, report("1.2.3.10", "pacs", committing=("pacs",))), at(301))
    assert deliver(journal, "pacs", seconds=400)[-1] == "1.2.3.10"
    assert state(engine) == "DELIVERED"


def test_an_image_that_comes_during_the_analysis_is_not_forgotten(engine: Engine, journal: Journal) -> None:
    """The analysis of the images of before is written and delivered, and the study is open again at once."""
    journal.received(image(number=1), at(0))
    (study,) = take_up(journal)
    journal.received(image(number=2), at(60))
    journal.analysed(study, outcome(study, report("1.2.3.9", "pacs")), at(61))
    assert state(engine) == "RECEIVED"
    assert deliver(journal, "pacs") == ["1.2.3.9"]
    (study,) = take_up(journal, 100)
    assert (len(study.instances), study.revision, study.attempts) == (2, 2, 1)
    assert [r.sop_instance_uid for r in study.earlier] == ["1.2.3.9"]
    journal.analysed(study, outcome(study, report("1.2.3.10", "pacs")), at(101))
    deliver(journal, "pacs", seconds=200)
    assert moves(engine) == [">RECEIVED", "RECEIVED>ANALYSED", "ANALYSED>DELIVERED"]


def test_dirty_headers_are_stored(engine: Engine, journal: Journal) -> None:
    """NUL bytes, lone surrogates and overlong values in a header do not stop an object."""
    dirty = image(patient_id="A\0B\udcff", accession_number="x" * 5000, study_date="ü漢", modality="")
    assert journal.received(dirty, at(0)) is Arrival.NEW
    journal.received(image(number=2, patient_id="other", modality="CR"), at(1))
    (row,) = Queries(engine).studies()
    assert (row["patient_id"], row["accession_number"], row["study_date"], row["modality"]) == (
        "AB?", "x" * 5000, "ü漢", "CR",
    )  # fmt: skip
    assert Trail(engine).verify() == []


# --- results -------------------------------------------------------------------------------------------------------


def test_a_result_is_stored_once_and_sent_with_the_same_bytes(engine: Engine, journal: Journal) -> None:
    """The same analysis again, after a replay, makes no second object: the study stands where its deliveries stand."""
    analysed(journal, "1.2.3", "pacs", "archive")
    deliver(journal, "pacs")
    deliver(journal, "archive")
    journal.replay("1.2.3", at(200))
    assert state(engine) == "RECEIVED"
    (study,) = take_up(journal, 300)
    other = report("1.2.3.9", "pacs", "archive")
    journal.analysed(study, outcome(study, type(other)(**{**vars(other), "data": b"other bytes"})), at(301))
    assert state(engine) == "DELIVERED"
    assert journal.due("pacs", at(400), 10) == []
    with reading(engine) as connection:
        assert [bytes(row[0]) for row in connection.execute(text("SELECT data FROM result_object"))] == [b"1.2.3.9"]


def test_analysed_twice_changes_nothing(engine: Engine, journal: Journal) -> None:
    """When the answer to a commit got lost the verb may be repeated."""
    taken = analysed(journal, "1.2.3", "pacs")
    journal.analysed(taken, outcome(taken, report("1.2.3.9", "pacs")), at(62))
    assert moves(engine) == [">RECEIVED", "RECEIVED>ANALYSED"]
    assert len(journal.due("pacs", at(100), 10)) == 1


def test_verdicts_and_findings_are_kept(engine: Engine, journal: Journal) -> None:
    """Each image has its verdict and reason, the study its summary and the digest of the model."""
    journal.received(image(number=1), at(0))
    journal.received(image(number=2), at(0))
    (study,) = take_up(journal)
    found = {"finding": "Effusion", "probability": 0.83, "threshold": 0.41, "call": "above"}
    verdicts = (
        InstanceOutcome(study.instances[0].id, "analysed", "", {"pathology": True}),
        InstanceOutcome(study.instances[1].id, "refused", "truncated"),
    )
    model = UsedModel("chest", "CXR", "4", "sha256:abc", "sha256:site")
    said = outcome(study, findings=[found], results=verdicts, model=model, reason="one refused")
    journal.analysed(study, said, at(61))
    detail = Queries(engine).study_detail("1.2.3")
    assert detail is not None
    assert [(i["verdict"], i["reason"]) for i in detail["instances"]] == [("analysed", ""), ("refused", "truncated")]
    assert [result.get("pathology") for result in Queries(engine).results("1.2.3")] == [True, None]
    assert detail["findings"] == [found]
    assert detail["models"] == [
        {"name": "chest", "bundle_name": "CXR", "version": "4", "digest": "sha256:abc", "site_digest": "sha256:site"}
    ]
    assert (detail["state"], detail["reason"]) == ("ANALYSED", "one refused")


def test_a_batch_is_one_transaction(engine: Engine) -> None:
    """`analysed_many` commits all or nothing."""
    commits: list[str] = []
    journal = Journal(engine, commits.append)
    for number in range(3):
        journal.received(image(f"1.2.{number}"), at(0))
    studies = take_up(journal)
    commits.clear()
    broken = outcome(studies[2], report("1.9", "pacs"), findings=[{"finding": "x", "probability": float("nan")}])
    done = [(s, outcome(s, report(f"{s.study_instance_uid}.9", "pacs"))) for s in studies[:2]]
    with pytest.raises(Exception, match="JSON compliant"):
        journal.analysed_many([*done, (studies[2], broken)], at(61))
    assert commits == []
    assert journal.counts()["RECEIVED"] == 3
    journal.analysed_many(done, at(61))
    assert commits == ["journal.analysed:before-commit", "journal.analysed:after-commit"]
    assert journal.counts() == {**dict.fromkeys(journal.counts(), 0), "ANALYSED": 2, "RECEIVED": 1}


# --- deliveries ----------------------------------------------------------------------------------------------------


def test_unreachable_waits_for_its_time(engine: Engine, journal: Journal) -> None:
    """An unreachable destination is tried again at the time given; another destination does not wait."""
    analysed(journal, "1.2.3", "pacs", "archive")
    (delivery,) = journal.due("pacs", at(100), 10)
    journal.sent(Attempt(delivery.id, UNREACHABLE, at(160)), at(100))
    assert deliver(journal, "archive") == ["1.2.3.9"]
    assert state(engine) == "ANALYSED"
    assert journal.due("pacs", at(159), 10) == []
    assert journal.next_due("pacs") == at(160)
    (again,) = journal.due("pacs", at(160), 10)
    assert (again.attempts, again.data) == (1, delivery.data)
    journal.sent(Attempt(again.id, Sent("WARNING", 0xB000)), at(161))
    assert (state(engine), journal.next_due("pacs")) == ("DELIVERED", None)
    (row,) = Queries(engine).studies()
    assert row["delivered_at"] == at(161).isoformat()


def test_postpone_and_resume_hold_for_the_whole_destination(journal: Journal) -> None:
    """While a destination is away nothing is due for it; once it is back everything is."""
    for number in range(3):
        analysed(journal, f"1.2.{number}", "pacs", "archive")
    assert journal.postpone("pacs", at(500)) == 3
    assert (len(journal.due("pacs", at(400), 10)), len(journal.due("archive", at(400), 10))) == (0, 3)
    assert journal.resume("pacs", at(401)) == 3
    assert len(journal.due("pacs", at(401), 10)) == 3


def test_a_refusal_needs_a_person(engine: Engine, journal: Journal) -> None:
    """A refused result puts its study in quarantine once all its deliveries have ended; `retry` sends it again."""
    analysed(journal, "1.2.3", "pacs", "archive")
    deliver(journal, "pacs", REFUSED)
    assert state(engine) == "ANALYSED"
    deliver(journal, "archive")
    (row,) = Queries(engine).quarantined()
    assert row["reason"] == "refused by pacs with status 0xA900: does not match"
    assert journal.retry("1.2.3", at(200)) == 1
    assert deliver(journal, "pacs", seconds=200) == ["1.2.3.9"]
    assert moves(engine)[2:] == ["ANALYSED>QUARANTINED", "QUARANTINED>ANALYSED", "ANALYSED>DELIVERED"]


def test_retry_makes_waiting_deliveries_due(journal: Journal) -> None:
    """A person need not wait for the schedule."""
    analysed(journal, "1.2.3", "pacs")
    (delivery,) = journal.due("pacs", at(100), 10)
    journal.sent(Attempt(delivery.id, UNREACHABLE, at(9999)), at(100))
    assert journal.retry("1.2.3", at(101)) == 1
    assert len(journal.due("pacs", at(101), 10)) == 1
    with pytest.raises(UnknownStudy):
        journal.retry("9.9.9", at(101))


def test_an_end_is_written_once(engine: Engine, journal: Journal) -> None:
    """The same end of a delivery again changes nothing."""
    analysed(journal, "1.2.3", "pacs")
    (delivery,) = journal.due("pacs", at(100), 10)
    for _ in range(2):
        journal.sent_many([Attempt(delivery.id, ACCEPTED)], at(101))
    assert [row["event"] for row in Queries(engine).events()].count("SENT") == 1


def test_an_ignored_study_stays_ignored(engine: Engine, journal: Journal) -> None:
    """A study that is out of scope stays IGNORED though a destination wanted to be told."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    journal.analysed(study, outcome(study, report("1.2.3.9", "pacs"), state="IGNORED", reason="lateral"), at(61))
    deliver(journal, "pacs")
    (row,) = Queries(engine).studies()
    assert (row["state"], row["reason"], row["delivered_at"]) == ("IGNORED", "lateral", at(101).isoformat())


# --- quarantine ----------------------------------------------------------------------------------------------------


def test_quarantine_release_and_discard(engine: Engine, journal: Journal) -> None:
    """Only a person takes a study out of quarantine; a late image does not. Each step has its row and its actor."""
    journal.received(image(), at(0))
    (study,) = take_up(journal)
    journal.quarantine(study.id, "altered in the spool", at(61))
    journal.received(image(number=2), at(62))
    assert take_up(journal, 1000) == []
    journal.release("1.2.3", at(70), actor="ann")
    (study,) = take_up(journal, 1000)
    assert (study.attempts, len(study.instances)) == (1, 2)
    journal.quarantine(study.id, "altered in the spool", at(71))
    journal.discard("1.2.3", at(72), actor="ben")
    (row,) = Queries(engine).studies()
    assert (row["state"], row["reason"]) == ("IGNORED", "discarded: altered in the spool")
    assert moves(engine) == [
        ">RECEIVED", "RECEIVED>QUARANTINED", "QUARANTINED>RECEIVED", "RECEIVED>QUARANTINED", "QUARANTINED>IGNORED",
    ]  # fmt: skip
    assert [row["actor"] for row in Queries(engine).events() if row["event"] in ("RELEASED", "DISCARDED")] == [
        "ann",
        "ben",
    ]
    for verb in (journal.release, journal.discard):
        with pytest.raises(WrongState, match="found the study in state IGNORED"):
            verb("1.2.3", at(73))


def test_discard_ends_the_deliveries(journal: Journal) -> None:
    """What was still to be sent of a discarded study is not sent."""
    analysed(journal, "1.2.3", "pacs", "archive")
    deliver(journal, "pacs", REFUSED)
    deliver(journal, "archive", REFUSED)
    journal.discard("1.2.3", at(200))
    assert [journal.due(name, at(300), 10) for name in ("pacs", "archive")] == [[], []]
    assert journal.delivery_counts() == {("pacs", "CANCELLED"): 1, ("archive", "CANCELLED"): 1}


# --- storage commitment --------------------------------------------------------------------------------------------


def commit(journal: Journal, destination: str, transaction_uid: str, seconds: float = 150, **answer: object) -> bool:
    """Ask a destination for all that is due, and take its answer: everything is committed unless said otherwise."""
    wanted = journal.commit_due(destination, 100, at(0))
    journal.commit_requested(transaction_uid, [w.delivery_id for w in wanted], at(seconds))
    given = {"ok": [w.sop_instance_uid for w in wanted], "failed": [], **answer}
    return journal.committed(transaction_uid, now=at(seconds + 1), **given)  # type: ignore[arg-type]


def test_committed_only_when_every_destination_that_commits_has(engine: Engine, journal: Journal) -> None:
    """COMMITTED comes with the last commitment, and destinations without storage commitment are not waited for."""
    analysed(journal, "1.2.3", "pacs", "archive", "viewer", committing=("pacs", "archive"))
    for name in ("pacs", "archive", "viewer"):
        assert journal.commit_due(name, 10, at(0)) == []
        deliver(journal, name)
    assert journal.commit_due("viewer", 10, at(0)) == []
    assert commit(journal, "pacs", "1.9.1")
    assert state(engine) == "DELIVERED"
    assert commit(journal, "archive", "1.9.2")
    assert moves(engine)[-2:] == ["ANALYSED>DELIVERED", "DELIVERED>COMMITTED"]
    assert not journal.committed("1.9.99", ["1.2.3.9"], [], at(400)), "an answer to nothing we asked"


def test_an_overdue_request_is_asked_again_and_the_late_answer_counts(engine: Engine, journal: Journal) -> None:
    """No answer: overdue; asked again under a new Transaction UID; the answer to the old one still commits."""
    analysed(journal, "1.2.3", "pacs", committing=("pacs",))
    deliver(journal, "pacs")
    (wanted,) = journal.commit_due("pacs", 10, at(0))
    journal.commit_requested("1.9.1", [wanted.delivery_id], at(200))
    assert journal.commit_due("pacs", 10, at(200)) == []
    (overdue,) = journal.commit_due("pacs", 10, at(201))
    assert (overdue.requests, overdue.transaction_uid, overdue.requested_at) == (1, "1.9.1", at(200))
    assert journal.commit_due("pacs", 10, at(201), max_requests=1) == []
    assert [o.delivery_id for o in journal.overdue(at(201), 1, ["pacs"])] == [overdue.delivery_id]
    assert journal.overdue(at(201), 2, ["pacs"]) == []
    assert [o.delivery_id for o in journal.overdue(at(201), 2, ["another"])] == [overdue.delivery_id]
    journal.commit_requested("1.9.2", [wanted.delivery_id], at(300))
    assert journal.commit_due("pacs", 10, at(250)) == []
    assert journal.committed("1.9.1", ["1.2.3.9"], [], at(302))
    assert state(engine) == "COMMITTED"
    assert journal.committed("1.9.2", [], [("1.2.3.9", 0x0131)], at(303))
    assert state(engine) == "COMMITTED", "what was committed stays so"


def test_a_failed_commitment_is_sent_again_then_raised(engine: Engine, journal: Journal) -> None:
    """Reason 0112: sent and asked for again; after the last request, or for another reason, a person is needed."""
    analysed(journal, "1.2.3", "pacs", committing=("pacs",))
    for number in range(3):
        assert deliver(journal, "pacs", seconds=200 + 10 * number) == ["1.2.3.9"]
        assert state(engine) == "DELIVERED"
        no_such_instance = {"ok": [], "failed": [("1.2.3.9", 0x0112)], "resend": {0x0112}}
        commit(journal, "pacs", f"1.9.{number}", 205 + 10 * number, **no_such_instance)
    assert Queries(engine).quarantined()[0]["reason"] == "pacs does not commit to what it accepted"
    assert journal.due("pacs", at(999), 10) == []
    journal.release("1.2.3", at(300))
    deliver(journal, "pacs", seconds=300)
    assert commit(journal, "pacs", "1.9.9", 310)
    assert state(engine) == "COMMITTED"


def test_silence_is_raised(engine: Engine, journal: Journal) -> None:
    """A destination that never answers is given up on, with the reason where a person looks."""
    analysed(journal, "1.2.3", "pacs", committing=("pacs",))
    deliver(journal, "pacs")
    (wanted,) = journal.commit_due("pacs", 10, at(0))
    journal.commit_requested("1.9.1", [wanted.delivery_id], at(200))
    journal.commit_failed([wanted.delivery_id], "no answer in 3 requests", at(900))
    assert state(engine) == "QUARANTINED"
    assert Queries(engine).deliveries()[0]["comment"] == "no answer in 3 requests"


def test_a_modality_s_request_is_remembered_until_it_is_answered(engine: Engine, journal: Journal) -> None:
    """A request survives a restart, is answered from the journal, once, and what was promised is kept."""

    journal.received(image(), at(0))
    obj = image()
    asked = PendingCommitRequest("1.9.1", "MODALITY1", "127.0.0.1", ((obj.sop_class_uid, obj.sop_instance_uid),))
    assert journal.remember_request(asked, at(1))
    assert not journal.remember_request(asked, at(2))
    (request,) = Journal(engine).unanswered(at(3))
    assert (request.references, request.calling_ae_title) == (asked.references, "MODALITY1")
    journal.not_answered(request, at(60))
    assert journal.unanswered(at(59)) == []
    (request,) = journal.unanswered(at(60))
    assert request.attempts == 1
    held = journal.holds(*request.references[0])
    assert held == Held(obj.spooled.name, obj.spooled.sha256)
    assert journal.holds("1.2.840.10008.5.1.4.1.1.1", obj.sop_instance_uid) is None, "another SOP class"
    journal.hold([obj.sop_instance_uid], at(10_000))
    journal.answered(request, [obj.sop_instance_uid], [], at(61))
    assert journal.unanswered(at(9999)) == []
    (study,) = take_up(journal)
    journal.analysed(study, outcome(study), at(62))
    assert journal.expired(at(5000), at(9_999)) == []
    assert journal.expired(at(5000), at(10_000)) == [obj.spooled.name]


# --- house-keeping -------------------------------------------------------------------------------------------------


def test_only_finished_studies_lose_their_files(journal: Journal) -> None:
    """Files go when their time is over; never of a study that waits, is being delivered, or is in quarantine."""
    journal.received(image("1.2.1"), at(0))
    (study,) = take_up(journal)
    journal.quarantine(study.id, "x", at(1))
    analysed(journal, "1.2.2", "pacs")
    analysed(journal, "1.2.3")
    journal.received(image("1.2.4"), at(0))
    assert journal.expired(at(0), at(500)) == []
    assert journal.expired(at(400), at(500)) == ["objects/00/1.2.3.1"]
    assert journal.expired(at(400), at(500)) == []
    assert not journal.knows("objects/00/1.2.3.1")
    with pytest.raises(WrongState, match="no longer in the spool"):
        journal.replay("1.2.3", at(600))


def test_what_was_set_aside_or_answered_goes_in_the_end(journal: Journal) -> None:
    """Other bytes under a known UID, and answered requests to commit, leave with their time; open requests stay."""
    first, other = image(sha256="first"), image(sha256="other", spooled=image(number=7).spooled)
    journal.received(first, at(0))
    assert journal.received(other, at(1), Compared("first", Likeness.OTHER)) is Arrival.CONFLICT
    reference = ((first.sop_class_uid, first.sop_instance_uid),)
    for uid in ("1.9.1", "1.9.2"):
        journal.remember_request(PendingCommitRequest(uid, "MODALITY1", "127.0.0.1", reference), at(1))
    journal.answered(journal.unanswered(at(2))[0], [], [], at(2))
    assert journal.expired(at(1), at(100)) == []
    assert journal.expired(at(50), at(100)) == [other.spooled.name]
    assert not journal.knows(other.spooled.name)
    assert journal.knows(first.spooled.name), "its study is not finished"
    assert [r.transaction_uid for r in journal.unanswered(at(99))] == ["1.9.2"]
    assert journal.remember_request(PendingCommitRequest("1.9.1", "MODALITY1", "127.0.0.1", reference), at(3))


def test_counts(journal: Journal) -> None:
    """Every state is counted, and every queue."""
    analysed(journal, "1.2.1", "pacs", "archive")
    journal.received(image("1.2.2"), at(0))
    assert journal.counts() == {
        "RECEIVED": 1, "ANALYSED": 1, "DELIVERED": 0, "COMMITTED": 0, "IGNORED": 0, "QUARANTINED": 0,
    }  # fmt: skip
    assert journal.delivery_counts() == {("pacs", "PENDING"): 1, ("archive", "PENDING"): 1}


# --- crashes -------------------------------------------------------------------------------------------------------

POINTS = [f"journal.{verb}:{when}-commit" for verb in FAULT_VERBS for when in ("before", "after")]


def walk(journal: Journal) -> None:
    """The whole way of a study, from wherever it stands: what the daemon does after a restart."""
    journal.release_claims("worker")
    journal.received(image(), at(0))
    for study in take_up(journal):
        journal.analysed(study, outcome(study, report("1.2.3.9", "pacs")), at(61))
    deliver(journal, "pacs")


@pytest.mark.parametrize("point", POINTS)
def test_kill_before_and_after_every_commit(engine: Engine, database_url: str, tmp_path: Path, point: str) -> None:
    """SIGKILL around any commit, and a restart: one report, one audit row for each transition, a sound chain."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from storage.database import open_database; from storage.journal import Journal\n"
        "from tests.storage import test_journal\n"
        "fault = lambda here: here == sys.argv[3] and os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_journal.walk(Journal(open_database(sys.argv[1], Path(sys.argv[2])), fault))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, database_url, tmp_path, point], check=False, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    journal = Journal(engine)
    walk(journal)
    assert moves(engine) == [">RECEIVED", "RECEIVED>ANALYSED", "ANALYSED>DELIVERED"]
    assert Counter(row["event"] for row in Queries(engine).events())["SENT"] == 1
    assert [d["state"] for d in Queries(engine).deliveries()] == ["ACCEPTED"]
    assert Trail(engine).verify() == []


@pytest.mark.parametrize("point", POINTS)
def test_an_exception_around_a_commit_leaves_the_old_state_or_the_new(engine: Engine, point: str) -> None:
    """An error before a commit undoes it, one after does not; repeating the verbs ends well either way."""

    def fault(here: str) -> None:
        if here == point:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk(Journal(engine, fault))
    walk(Journal(engine))
    assert moves(engine) == [">RECEIVED", "RECEIVED>ANALYSED", "ANALYSED>DELIVERED"]
    assert Trail(engine).verify() == []


def hammer(url: str, directory: str, worker: int) -> None:
    """One process of several that do everything at once."""
    journal = Journal(open_database(url, Path(directory)))
    for number in range(15):
        journal.received(image(f"1.2.{worker}.{number}"), at(number))
        for study in take_up(journal, worker=str(worker), limit=3):
            uid = f"{study.study_instance_uid}.9"
            journal.analysed(study, outcome(study, report(uid, "pacs")), at(61))
        if worker == 0:
            deliver(journal, "pacs")


def test_several_processes_at_once(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """Processes that receive, analyse and deliver at once lose nothing, do nothing twice, and keep the chain."""
    script = (
        "import sys; from tests.storage.test_journal import hammer; hammer(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    )
    command = [sys.executable, "-c", script, database_url, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    journal = Journal(engine)
    deliver(journal, "pacs")
    assert journal.counts()["DELIVERED"] == 45
    events = Counter((row["event"], row["study_instance_uid"]) for row in Queries(engine).events(limit=9999))
    assert set(events.values()) == {1}
    assert len(events) == 45 * 4
    assert Trail(engine).verify() == []
