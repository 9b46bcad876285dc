"""What programs read over HTTP: the journal as it is, in the names of the command line."""

import json
from pathlib import Path
from types import MappingProxyType

import pytest
from fastapi.testclient import TestClient

from config.settings import load
from daemon.web.api import application
from storage.analyses import InstanceOutcome
from storage.spool import Spool
from storage.store import open_store
from tests.support.studies import analysed, at, image, outcome, report, take_up

SEEN = MappingProxyType({"file": "1.2.1.1", "analysed": True, "pathology": True, "findings": [{"finding": "Mass"}]})


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """Over two studies: one analysed with a report pending, one with an analysed and a refused image and a new one."""
    store, spool = open_store("", tmp_path), Spool(tmp_path / "spool")
    journal = store.journal
    analysed(journal, "1.2.0", "pacs")
    for number in (1, 2):
        journal.received(image("1.2.1", number, accession_number="ACC9"), at(number))
    (study,) = take_up(journal)
    verdicts = (
        InstanceOutcome(study.instances[0].id, "analysed", "", dict(SEEN)),
        InstanceOutcome(study.instances[1].id, "refused", "every pixel has the stored value 7", None),
    )
    journal.analysed(study, outcome(study, report("1.2.1.9", "pacs"), results=verdicts), at(61))
    journal.received(image("1.2.1", 3), at(70))
    settings = load(None, {"HILUM__STORAGE__DIRECTORY": str(tmp_path), "HILUM__STORAGE__MIN_FREE_BYTES": "1"})
    return TestClient(application(settings, store, spool), base_url="http://localhost")


def test_each_image_has_its_result_or_its_reason(client: TestClient) -> None:
    """The objects of `hilum predict --json`, also for what was refused or still waits."""
    assert client.get("/api/v1/studies/1.2.1/results").json() == [
        dict(SEEN),
        {"file": "1.2.1.2", "analysed": False, "reason": "every pixel has the stored value 7"},
        {"file": "1.2.1.3", "analysed": False, "reason": "not analysed yet"},
    ]


def test_studies_are_found_by_what_administrators_know(client: TestClient) -> None:
    """By accession number, with every event of the one that was found."""
    (row,) = client.get("/api/v1/studies", params={"accession_number": "ACC9"}).json()
    events = client.get(f"/api/v1/studies/{row['study_instance_uid']}/events").json()
    assert [e["to_state"] for e in events if e["from_state"] != e["to_state"]] == ["RECEIVED", "ANALYSED", "RECEIVED"]
    assert client.get("/api/v1/studies", params={"limit": 0}).status_code == 422


def test_metrics_count_and_name_nobody(client: TestClient) -> None:
    """Studies, images by verdict and deliveries are counted; no identifier stands there."""
    page = client.get("/metrics").text
    assert 'hilum_studies{state="ANALYSED"} 1.0' in page
    assert 'hilum_images{verdict="refused"} 1.0' in page
    assert 'hilum_images{verdict="waiting"} 1.0' in page
    assert 'hilum_deliveries{destination="pacs",state="PENDING"} 2.0' in page
    assert not any(secret in page for secret in ("ACC9", "PAT1", "1.2.1"))


def test_health_says_why_not(client: TestClient, tmp_path: Path) -> None:
    """200 while there is room; else 503 with the cause."""
    assert client.get("/health").json()["status"] == "ok"
    settings = load(None, {"HILUM__STORAGE__DIRECTORY": str(tmp_path), "HILUM__STORAGE__MIN_FREE_BYTES": str(10**18)})
    store = open_store("", tmp_path)
    served = application(settings, store, Spool(tmp_path / "spool"))
    full = TestClient(served, base_url="http://localhost").get("/health")
    assert (full.status_code, json.loads(full.text)["status"]) == (503, "spool is full")
