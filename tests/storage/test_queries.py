"""What administrators ask: the keys, the filters, and what asking needs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from storage.database import open_database
from storage.journal import Journal
from storage.queries import Queries
from tests.conftest import ROOT
from tests.support.studies import analysed, at, deliver, image, outcome, report, take_up

pytest_plugins = ["tests.support.postgres"]


def found(finding: str, call: str) -> dict[str, Any]:
    return {"finding": finding, "probability": 0.83, "threshold": 0.41, "call": call}


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Engine:
    """Three studies: delivered with an effusion, analysed without one, and received."""
    engine = open_database(database_url, tmp_path)
    journal = Journal(engine)
    for number in range(2):
        uid = f"1.2.{number}"
        journal.received(image(uid, patient_id=f"PAT{number}", accession_number=f"ACC{number}"), at(number))
        (study,) = take_up(journal)
        findings = [found("Effusion", "above" if number == 0 else "below"), found("Mass", "near")]
        journal.analysed(study, outcome(study, report(f"{uid}.9", "pacs"), findings=findings), at(61))
        if number == 0:
            deliver(journal, "pacs")
    journal.received(image("1.2.2", patient_id="PAT2"), at(2))
    journal.received(image("1.2.2", number=2), at(2))
    return engine


def uids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["study_instance_uid"] for row in rows]


def test_studies_have_the_promised_keys(engine: Engine) -> None:
    """Keys are DICOM keywords in snake_case, times ISO 8601 with an offset; all of it is JSON."""
    newest, middle, oldest = Queries(engine).studies()
    assert uids([newest, middle, oldest]) == ["1.2.2", "1.2.1", "1.2.0"]
    assert {
        "study_instance_uid", "accession_number", "patient_id", "state", "reason", "received_at", "delivered_at",
        "findings",
    } <= oldest.keys()  # fmt: skip
    assert (oldest["received_at"], oldest["delivered_at"]) == ("2026-03-01T12:00:00+00:00", "2026-03-01T12:01:41+00:00")
    assert oldest["findings"] == [found("Effusion", "above"), found("Mass", "near")]
    assert (newest["delivered_at"], newest["findings"], newest["images"]) == (None, [], 2)
    assert json.loads(json.dumps(oldest)) == oldest


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"since": at(1)}, ["1.2.2", "1.2.1"]),
        ({"until": at(1)}, ["1.2.0"]),
        ({"since": at(1), "until": at(2)}, ["1.2.1"]),
        ({"patient": "PAT1"}, ["1.2.1"]),
        ({"accession": "ACC0"}, ["1.2.0"]),
        ({"finding": "effusion"}, ["1.2.0"]),
        ({"finding": "Mass"}, []),
        ({"state": "received"}, ["1.2.2"]),
        ({"state": "DELIVERED", "patient": "PAT1"}, []),
        ({"limit": 1}, ["1.2.2"]),
        ({"patient": "' OR 1=1 --"}, []),
    ],
)
def test_studies_are_filtered(engine: Engine, asked: dict[str, Any], expected: list[str]) -> None:
    """Each filter narrows the answer; together they narrow it further."""
    assert uids(Queries(engine).studies(**asked)) == expected


def test_events_and_deliveries(engine: Engine) -> None:
    """What happened and what was sent can be asked by study, kind and time."""
    assert [e["event"] for e in Queries(engine).events("1.2.0")] == ["RECEIVED", "ANALYSED", "SENT", "DELIVERED"]
    assert [e["study_instance_uid"] for e in Queries(engine).events(event="delivered")] == ["1.2.0"]
    assert [e["event"] for e in Queries(engine).events(limit=1)] == ["RECEIVED"]
    assert [e["event"] for e in Queries(engine).events(since=at(100), until=at(200))] == ["SENT", "DELIVERED"]
    (sent,) = Queries(engine).deliveries(state="accepted")
    assert (sent["study_instance_uid"], sent["destination"], sent["kind"], sent["status"]) == ("1.2.0", "pacs", "sr", 0)
    assert [d["state"] for d in Queries(engine).deliveries(destination="pacs")] == ["ACCEPTED", "PENDING"]
    assert Queries(engine).deliveries("1.2.2") == []


def test_everything_of_one_study(engine: Engine) -> None:
    """One study with images, objects, deliveries and events, as JSON, without the objects' bytes."""
    detail = Queries(engine).study_detail("1.2.0")
    assert detail is not None
    assert {"instances", "objects", "deliveries", "events", "findings"} <= detail.keys()
    assert [o["sop_instance_uid"] for o in detail["objects"]] == ["1.2.0.9"]
    json.dumps(detail)
    assert Queries(engine).study_detail("9.9.9") is None


def test_many_studies_at_once(tmp_path: Path) -> None:
    """More studies than a statement takes parameters are answered all the same."""
    engine = open_database("", tmp_path)
    journal = Journal(engine)
    for number in range(1200):
        journal.received(image(f"1.2.{number}"), at(0))
    rows = Queries(engine).studies(limit=5000)
    assert len(rows) == 1200
    assert {row["images"] for row in rows} == {1}


def test_quarantine_is_listed(tmp_path: Path) -> None:
    """The list for the person who looks after quarantine has the reason."""
    engine = open_database("", tmp_path)
    journal = Journal(engine)
    journal.quarantine(analysed(journal, "1.2.3").id, "altered in the spool", at(70))
    assert [(row["study_instance_uid"], row["reason"]) for row in Queries(engine).quarantined()] == [
        ("1.2.3", "altered in the spool")
    ]


def test_asking_needs_neither_torch_nor_pydicom() -> None:
    """The audit database is asked without loading what analyses images."""
    script = "import sys, storage.store; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "pydicom", "pynetdicom", "numpy", "monai"} & set(done.stdout.split())
