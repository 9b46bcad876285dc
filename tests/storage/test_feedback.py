"""What readers say of results is kept as it was said, with what it was said of."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.analyses import InstanceOutcome
from storage.database import open_database, writing
from storage.errors import BadVerdict, UnknownStudy, UnknownSubject
from storage.journal.feedback import Judgement
from storage.store import Store, open_store
from tests.support.studies import at, image, outcome
from tests.support.verdicts import MODEL, found, judged, result, with_results

pytest_plugins = ["tests.support.postgres"]
RESULT = result(
    found("Effusion", "above", 0.6, 60), found("Pleural_Thickening", "near", 0.4, 45), found("Mass", "below", 0.01, 10),
    acquisition={"view": "PA"},
)  # fmt: skip


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Store:
    """With one study of one image, on both databases."""
    opened = open_store(database_url, tmp_path)
    with_results(opened.journal, "1.2.3", RESULT)
    return opened


def test_a_verdict_keeps_what_it_is_about(store: Store) -> None:
    """Another model's result, later, does not change what was judged."""
    row = judged(store.journal, "1.2.3", "effusion", "agree", note="large")
    expected = {"sop_instance_uid": "1.2.3.1", "finding": "Effusion", "verdict": "agree", "present": 1, "call": "above",
                "score": 60, "probability": 0.6, "model_digest": MODEL["digest"], "view": "PA", "reader": "Dr A",
                "note": "large", "study_instance_uid": "1.2.3"}  # fmt: skip
    assert row.items() >= expected.items()
    store.journal.replay("1.2.3", at(200))
    (taken,) = store.journal.settled(at(300), 3.0, 1, "worker")
    other = result(found("Effusion", "below", 0.1, 20), model=MODEL | {"digest": "sha256:other"})
    results = (InstanceOutcome(taken.instances[0].id, "analysed", "", other),)
    store.journal.analysed(taken, outcome(taken, results=results), at(301))
    (listed,) = store.feedback.listed()
    assert listed.items() >= expected.items()
    (standing,) = store.feedback.standing()
    assert standing["result"] == RESULT
    assert standing["calling_ae_title"] == "MODALITY1"
    assert judged(store.journal, "1.2.3", "Effusion", "agree")["present"] == 0  # agreed with "below"


@pytest.mark.parametrize(
    ("finding", "verdict", "present", "call"),
    [("Effusion", "agree", 1, "above"), ("Effusion", "disagree", 0, "above"),
     ("pleural thickening", "agree", 1, "near"), ("Pleural_Thickening", "disagree", 0, "near"),
     ("Mass", "agree", 0, "below"), ("Mass", "disagree", 1, "below"),
     ("none", "agree", 0, "above"), ("None", "disagree", 1, "above")],
)  # fmt: skip
def test_what_follows_from_a_verdict(store: Store, finding: str, verdict: str, present: int, call: str) -> None:
    """Whether the reader says that the finding is there."""
    row = judged(store.journal, "1.2.3", finding, verdict)
    assert (row["present"], row["call"]) == (present, call)


def test_a_correction_is_a_new_row(store: Store) -> None:
    """The newest of a reader counts, beside that of another reader; all are listed."""
    judged(store.journal, "1.2.3", "Effusion", "agree", 100)
    judged(store.journal, "1.2.3", "Effusion", "disagree", 110, reader="Dr B")
    judged(store.journal, "1.2.3", "Effusion", "disagree", 120)
    assert [(r["reader"], r["verdict"], r["counts"]) for r in store.feedback.listed()] == [
        ("Dr A", "disagree", True), ("Dr B", "disagree", True), ("Dr A", "agree", False)
    ]  # fmt: skip
    assert [(r["reader"], r["present"]) for r in store.feedback.standing()] == [("Dr B", 0), ("Dr A", 0)]
    assert [r["id"] for r in store.feedback.listed(reader="Dr B", finding="effusion")] == [2]
    assert [r["id"] for r in store.feedback.standing(until=at(115))] == [1, 2], "as it stood then"
    assert [r["id"] for r in store.feedback.listed(since=at(105), until=at(120))] == [2]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE feedback SET present = 0", "UPDATE feedback SET note = 'another'",
     "INSERT OR REPLACE INTO feedback SELECT * FROM feedback"],
)  # fmt: skip
def test_no_row_is_changed(store: Store, database_url: str, tmp_path: Path, statement: str) -> None:
    """The database itself refuses it, in every way that it knows to change a row."""
    if "REPLACE" in statement and not database_url.startswith("sqlite"):
        pytest.skip("SQLite alone has REPLACE")
    row = judged(store.journal, "1.2.3", "Effusion", "agree")
    with (
        pytest.raises(DBAPIError, match="a verdict is never changed"),
        writing(open_database(database_url, tmp_path)) as connection,
    ):
        connection.execute(text(statement))
    (kept,) = store.feedback.listed()
    assert (kept["present"], kept["note"]) == (row["present"], "")


def test_a_verdict_is_in_the_audit_trail_without_its_note(store: Store) -> None:
    """Who said what of which image; the note, which may name a patient, stays in the table."""
    judged(store.journal, "1.2.3", "Effusion", "disagree", note="Mrs Smith had an operation")
    (event,) = store.queries.events(event="FEEDBACK")
    assert (event["actor"], event["study_instance_uid"], event["sop_instance_uid"]) == (
        "operator test",
        "1.2.3",
        "1.2.3.1",
    )
    assert event["detail"] == {"feedback": 1, "finding": "Effusion", "verdict": "disagree", "present": 0,
                               "call": "above", "model_digest": MODEL["digest"], "reader": "Dr A"}  # fmt: skip
    assert store.trail.verify() == []


def test_the_study_is_named_by_uid_or_accession_number(store: Store) -> None:
    """By an accession number only while one study has it."""
    assert judged(store.journal, "ACC1", "Mass", "agree")["study_instance_uid"] == "1.2.3"
    store.journal.received(image("1.2.4"), at(400))
    with pytest.raises(UnknownSubject, match="several studies"):
        judged(store.journal, "ACC1", "Mass", "agree")


def test_the_strongest_image_is_judged(store: Store) -> None:
    """Of several images the one in which the finding is strongest, or the one that is named."""
    weak, strong = result(found("Mass", "near", 0.4, 48)), result(found("Mass", "above", 0.6, 70))
    first, second = with_results(store.journal, "1.2.5", weak, strong, accession_number="ACC5")
    assert judged(store.journal, "ACC5", "Mass", "agree")["sop_instance_uid"] == second
    assert judged(store.journal, "ACC5", "Mass", "agree", sop_instance_uid=first)["call"] == "near"
    assert judged(store.journal, "ACC5", "none", "agree")["sop_instance_uid"] == second


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [({"study": "9.9"}, UnknownStudy, "no study"), ({"study": ""}, UnknownStudy, "no study"),
     ({"finding": "Fracture"}, UnknownSubject, "it knows Effusion, Pleural_Thickening, Mass; or none"),
     ({"sop_instance_uid": "1.2.3.9"}, UnknownSubject, "those that have: 1.2.3.1"),
     ({"verdict": "maybe"}, BadVerdict, "agree or disagree"), ({"reader": " "}, BadVerdict, "reader's name"),
     ({"reader": "x" * 65}, BadVerdict, "reader's name"), ({"note": "x" * 2001}, BadVerdict, "2001 characters")],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(
    store: Store, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    """With a sentence, and nothing is written."""
    said = {"study": "1.2.3", "finding": "Effusion", "verdict": "agree", "reader": "Dr A", **changed}
    with pytest.raises(error, match=words):
        store.journal.judge(Judgement(**said), at(100))
    assert store.feedback.listed() == []
    assert store.queries.events(event="FEEDBACK") == []


def test_an_image_without_a_result_is_not_judged(store: Store) -> None:
    """An image that waits, or that was refused."""
    store.journal.received(image("1.2.6", accession_number="ACC6"), at(500))
    with pytest.raises(UnknownSubject, match="no image of this study has a result"):
        judged(store.journal, "ACC6", "Effusion", "agree")
