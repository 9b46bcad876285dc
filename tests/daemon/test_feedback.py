"""Readers' verdicts by command and over HTTP, and how often they agree with the calls."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from config.settings import load
from daemon.cli.main import app
from daemon.cli.site.agreement import agreement_rows, wilson
from daemon.runtime.person import login
from daemon.web.api import application
from storage.spool import Spool
from storage.store import Store, open_store
from tests.support.verdicts import found, judged, result, with_results

SCANNER = {"view": "PA", "manufacturer": "ACME", "manufacturer_model_name": "X1", "station_name": "ROOM2"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Of two studies: one from a scanner that its header names, one of which only the AE title is known."""
    monkeypatch.setenv("HILUM__STORAGE__DIRECTORY", str(tmp_path))
    opened = open_store("", tmp_path)
    seen = found("Effusion", "above", 0.6, 60), found("Mass", "below", 0.01, 10)
    with_results(opened.journal, "1.2.3", result(*seen, acquisition=SCANNER), accession_number="A1")
    with_results(opened.journal, "1.2.4", result(*seen), seconds=1000, accession_number="A2", patient_id="PAT2")
    return opened


def hilum(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_a_verdict_is_said_back(store: Store) -> None:
    """So that a slip shows at once; the actor is the person at the keyboard."""
    done = hilum("feedback", "A1", "--finding", "mass", "--verdict", "disagree", "--by", "Dr A", "--note", "left hilum")
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "recorded as verdict 1 by Dr A: Mass is there (the call was below, score 10), image 1.2.3.1\n"
    )
    done = hilum("feedback", "A1", "--finding", "none", "--verdict", "agree", "--by", "Dr A")
    assert "none of the findings is there (the call was above)" in done.stdout
    (first, second) = json.loads(hilum("audit", "feedback", "--json").stdout)[::-1]
    assert (first["finding"], first["present"], first["note"], first["patient_id"]) == ("Mass", 1, "left hilum", "PAT1")
    assert (second["finding"], second["present"]) == ("none", 0)
    assert {e["actor"] for e in store.queries.events(event="FEEDBACK")} == {f"operator {login()}"}
    assert len(store.queries.events(event="AUDIT_READ")) == 1


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [(("A9", "--finding", "Mass", "--verdict", "agree", "--by", "x"), 1, "no study in the journal"),
     (("A1", "--finding", "Fracture", "--verdict", "agree", "--by", "x"), 1, "it knows Effusion, Mass; or none"),
     (("A1", "--finding", "Mass", "--verdict", "maybe", "--by", "x"), 2, "maybe"),
     (("A1", "--finding", "Mass", "--verdict", "agree"), 2, "--by")],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(store: Store, words: tuple[str, ...], status: int, sentence: str) -> None:
    """With a sentence and an exit status."""
    done = hilum("feedback", *words)
    assert (done.exit_code, sentence in done.output) == (status, True), done.output
    assert store.feedback.listed() == []


def test_agreement_is_counted_by_finding_model_and_scanner(store: Store) -> None:
    """Each share with its interval; a scanner that the header does not name is called by its AE title."""
    judged(store.journal, "1.2.3", "Effusion", "agree")
    judged(store.journal, "1.2.4", "Effusion", "disagree", 1100)
    judged(store.journal, "1.2.3", "Mass", "disagree", reader="Dr B")
    judged(store.journal, "1.2.3", "none", "disagree", reader="Dr B")
    rows = {(r["by"], r["value"]): r for r in json.loads(hilum("audit", "agreement", "--json").stdout)}
    assert list(rows) == [
        ("all", ""), ("finding", "Effusion"), ("finding", "Mass"), ("finding", "none"),
        ("model", "made 1 sha256:aaaaaaa"), ("scanner", "ACME / X1 / ROOM2"), ("scanner", "AE MODALITY1"),
    ]  # fmt: skip
    effusion = {"studies": 2, "verdicts": 2, "agreed": 1, "agreement": 0.5, "agreement_low": 0.0945,
                "agreement_high": 0.9055, "above": 2, "above_agreed": 1, "right": 0.5, "missed": 0}  # fmt: skip
    assert rows["finding", "Effusion"].items() >= effusion.items()
    assert rows["finding", "Mass"].items() >= {"agreed": 0, "above": 0, "right": None, "missed": 1}.items()
    assert rows["finding", "none"].items() >= {"agreed": 1, "above": 0, "missed": 0}.items()
    assert rows["all", ""].items() >= {"studies": 2, "verdicts": 4, "agreed": 2}.items()
    table = hilum("audit", "agreement").stdout
    assert "1 of 2: 50% (9% to 91%)" in table, table
    assert hilum("audit", "agreement", "--csv").stdout.startswith("by,value,studies,verdicts,agreed,agreement,")


def test_intervals_are_wilsons() -> None:
    """As in Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29."""
    assert wilson(81, 263) == (0.2553, 0.3662)
    assert wilson(15, 148) == (0.0624, 0.1605)
    assert wilson(0, 20) == (0.0, 0.1611)
    assert wilson(29, 29) == (0.883, 1.0)
    assert agreement_rows([]) == []


def client(store: Store, directory: Path, **more: str) -> TestClient:
    settings = load(None, {"HILUM__STORAGE__DIRECTORY": str(directory), **more})
    return TestClient(application(settings, store, Spool(directory / "spool")), base_url="http://localhost")


VERDICT = {"finding": "Effusion", "verdict": "disagree", "by": "Dr C", "note": "old"}


def test_http_takes_verdicts_where_a_setting_lets_it(store: Store, tmp_path: Path) -> None:
    """Off by default, with a sentence that says how; on, it answers with the row."""
    off = client(store, tmp_path).post("/api/v1/studies/1.2.3/feedback", json=VERDICT)
    assert (off.status_code, "http.feedback" in off.json()["error"]) == (403, True)
    on = client(store, tmp_path, HILUM__HTTP__FEEDBACK="true")
    answer = on.post("/api/v1/studies/1.2.3/feedback", json=VERDICT)
    assert answer.status_code == 201, answer.text
    assert answer.json().items() >= {"finding": "Effusion", "present": 0, "call": "above", "reader": "Dr C"}.items()
    (listed,) = on.get("/api/v1/studies/1.2.3/feedback").json()
    assert (listed["reader"], listed["note"], listed["counts"]) == ("Dr C", "old", True)
    assert on.get("/api/v1/studies/1.2.4/feedback").json() == []
    assert [e["actor"] for e in store.queries.events(event="FEEDBACK")] == ["http testclient"]


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [({"json": VERDICT, "headers": {"host": "evil.example"}}, 421, "host name"),
     ({"content": json.dumps(VERDICT), "headers": {"content-type": "text/plain"}}, 415, "application/json"),
     ({"content": iter([b"{}"]), "headers": {"content-type": "application/json"}}, 411, "Content-Length"),
     ({"json": VERDICT | {"note": "x" * 20_000}}, 413, "at most"),
     ({"json": VERDICT | {"note": "x" * 2_001}}, 422, "2001 characters"),
     ({"json": {"verdict": "agree", "by": "Dr C", "patient": "Smith"}}, 422, "finding: Field required"),
     ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "body"),
     ({"json": VERDICT | {"verdict": "maybe"}}, 422, "agree or disagree"),
     ({"json": VERDICT | {"finding": "Fracture"}}, 404, "it knows")],
)  # fmt: skip
def test_http_refuses_what_is_no_verdict(
    store: Store, tmp_path: Path, sent: dict[str, Any], status: int, words: str
) -> None:
    """A stranger's page, a form, a flood, another field: refused, nothing is written, and no value comes back."""
    on = client(store, tmp_path, HILUM__HTTP__FEEDBACK="true")
    answer = on.post("/api/v1/studies/1.2.3/feedback", **sent)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    assert "Smith" not in answer.text
    assert store.feedback.listed() == []
    assert on.post("/api/v1/studies/9.9/feedback", json=VERDICT).status_code == 404
