"""A site's verdicts and its own calibration in the whole daemon: judged, put into force, named by every result."""

import json
import signal
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from daemon.decisions import CannotWork
from daemon.runtime.clock import now
from daemon.wiring import open_classifier, read_settings
from dicom_io.image.part10 import read_part10
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file, free_port


def site_file(path: Path, bundle_digest: str, offset: float) -> str:
    """A calibration that moves Effusion and nothing else; its digest."""
    site_map = {"kind": "platt", "scale": 1.0, "offset": offset}
    content = {"format": 1, "model": {"digest": bundle_digest}, "findings": {"Effusion": {"map": site_map}}}
    path.write_text(json.dumps(content))
    return "sha256:" + sha256(path.read_bytes()).hexdigest()


def effusion(result: dict[str, Any]) -> dict[str, Any]:
    (found,) = [f for f in result["findings"] if f["finding"] == "Effusion"]
    return dict(found)


def sent_reports(daemon: Daemon) -> list[str]:
    """The text of each report and page that waits for its destination."""
    with daemon.journal() as journal:
        objects = [delivery.data for delivery in journal.due("pacs", now().replace(year=2100), 100)]
    return [str(pydicom.dcmread(BytesIO(data), force=True)) for data in objects]


@pytest.mark.timeout(600)
def test_a_site_calibration_is_in_every_result(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Put into force by a reload; the study, analysed again, says so in journal, report and page, and a verdict on it
    keeps both probabilities."""
    digest = untrained["HILUM__MODEL__DIGEST"]
    own = site_file(tmp_path / "site.json", digest, 0.7)
    other = site_file(tmp_path / "other.json", "sha256:" + "1" * 64, 0.7)
    config = tmp_path / "hilum.toml"
    config.write_text("")
    dx_file(tmp_path / "a.dcm", 64, 64, BodyPartExamined="CHEST", ViewPosition="PA", Manufacturer="ACME",
            StationName="ROOM2", AccessionNumber="A1")  # fmt: skip
    image = read_part10((tmp_path / "a.dcm").read_bytes())
    destinations = [sink("pacs", free_port(), outputs=["sr", "sc"])]
    with Daemon(tmp_path / "hilum", destinations, HILUM_CONFIG=str(config), **untrained) as daemon:
        sender = Sender("MODALITY1", Destination("HILUM", "127.0.0.1", daemon.port, sop_classes=(image.sop_class_uid,)))
        sent = sender.send(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.data)
        assert sent.status == 0, sent
        sender.close()
        wait_for(lambda: daemon.states()["ANALYSED"], 180, f"the analysis: {daemon.events[-3:]}")
        (row,) = daemon.rows()
        uid = row["study_instance_uid"]

        def results() -> dict[str, Any]:
            with daemon.store() as store:
                return dict(store.queries.results(uid)[0])

        def reload(site: Path, pin: str) -> None:
            config.write_text(f"[model]\nsite_calibration = '{site}'\nsite_digest = '{pin}'\n")
            assert daemon.process
            daemon.process.send_signal(signal.SIGHUP)

        before = results()
        assert "acquisition" not in before, "the object of hilum predict --json, with its keys and no others"
        assert "site_calibration" not in before["model"]
        assert not any("site calibration" in text for text in sent_reports(daemon))
        said = daemon.hilum("feedback", "A1", "--finding", "Effusion", "--verdict", "disagree", "--by", "Dr A")
        assert "image " + image.sop_instance_uid in said

        for site, pin, words in ((tmp_path / "site.json", other, own), (tmp_path / "other.json", other, "1" * 64)):
            daemon.events.clear()
            reload(site, pin)
            refused = daemon.await_event("configuration refused, the old one stays")
            assert "model.site_calibration" in refused["fault"]
            assert words in refused["fault"]
        reload(tmp_path / "site.json", own)
        wait_for(
            lambda: any(e["event"] == "RELOADED" for e in daemon.hilum("audit", "events", "--json")), 180, "the reload"
        )
        daemon.hilum("replay", uid)
        wait_for(lambda: "site_calibration" in results()["model"], 180, "the analysis with the site's calibration")
        after = results()
        assert after["model"] == before["model"] | {"site_calibration": own}
        assert effusion(after)["shipped_probability"] == effusion(before)["probability"]
        assert effusion(after)["probability"] > effusion(before)["probability"]
        assert effusion(after)["call"] == effusion(before)["call"]
        new = [text for text in sent_reports(daemon) if own in text]
        assert len(new) == 2, "report and page"
        daemon.hilum("feedback", uid, "--finding", "Effusion", "--verdict", "agree", "--by", "Dr B")
        with daemon.store() as store:
            kept = [effusion(v["result"]) for v in store.feedback.standing()]
            assert [v["view"] for v in store.feedback.standing()] == ["PA", "PA"]
        assert kept == [effusion(before), effusion(after)]
        rows = daemon.hilum("audit", "agreement", "--json")
        assert [r["value"] for r in rows if r["by"] == "scanner"] == ["ACME / ROOM2"]
        assert len([r for r in rows if r["by"] == "model"]) == 2, "with and without the site's calibration"
        assert "too few labels" in str(daemon.hilum("evaluate", "--site", "--json"))
        assert daemon.faults() == []


def test_no_start_with_a_calibration_that_is_not_the_pinned_one(tmp_path: Path, untrained: dict[str, str]) -> None:
    """The sentence says which digest was found and which bundle it was fitted for."""
    environ = {**untrained, "HILUM__STORAGE__DIRECTORY": str(tmp_path)}
    good = site_file(tmp_path / "site.json", untrained["HILUM__MODEL__DIGEST"], 0.5)
    environ |= {"HILUM__MODEL__SITE_CALIBRATION": str(tmp_path / "site.json")}
    with pytest.raises(CannotWork, match=f"model.site_calibration: .*{good}, but none is pinned"):
        open_classifier(read_settings(None, environ))
    classifier = open_classifier(read_settings(None, environ | {"HILUM__MODEL__SITE_DIGEST": good}))
    assert classifier.model["site_calibration"] == good
    foreign = site_file(tmp_path / "site.json", "sha256:" + "2" * 64, 0.5)
    with pytest.raises(CannotWork, match="was fitted for the bundle sha256:222"):
        open_classifier(read_settings(None, environ | {"HILUM__MODEL__SITE_DIGEST": foreign}))
