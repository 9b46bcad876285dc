"""The daemon as its users meet it: late images, duplicates, a PACS that is away, poison, reload, and its silence."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.conftest import ROOT, require, wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import StoreScpPeer, answers, dx_file, free_port, run, storescp


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScpPeer]:
    require("storescp", "dcmsend")
    with storescp(tmp_path / "sink") as peer:
        yield peer


def send(daemon: Daemon, *files: Path) -> str:
    """dcmsend's report on sending these files."""
    return run("dcmsend", "-v", "-aec", "HILUM", "127.0.0.1", str(daemon.port), *files).stdout


def states(daemon: Daemon) -> list[str]:
    return sorted(row["state"] for row in daemon.studies())


def radiograph(path: Path, **elements: Any) -> Path:
    return dx_file(path, BodyPartExamined="CHEST", ViewPosition="PA", **elements)


def test_a_late_image_makes_a_second_report_that_names_the_first(
    tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]
) -> None:
    """One report for a set of images; another image of the study makes another, which names its predecessor."""
    study = generate_uid()
    first, second = (radiograph(tmp_path / f"{n}.dcm", StudyInstanceUID=study) for n in range(2))
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        send(daemon, first)
        wait_for(lambda: len(pacs.files()) == 1, 60, "the first report")
        send(daemon, second)
        wait_for(lambda: len(pacs.files()) == 2, 60, "the second report")
        wait_for(lambda: states(daemon) == ["DELIVERED"], 30, "the delivery")
        reports = sorted((pydicom.dcmread(f) for f in pacs.files()), key=lambda sr: len(sr.to_json()))
        assert "PredecessorDocumentsSequence" not in reports[0]
        earlier = reports[1].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert earlier.ReferencedSOPInstanceUID == reports[0].SOPInstanceUID
        assert {str(sr.StudyInstanceUID) for sr in reports} == {str(study)}

        send(daemon, first)  # the same bytes again: no new work
        other = pydicom.dcmread(second)
        other.PixelData = bytes(255 - value for value in other.PixelData)
        other.save_as(tmp_path / "other.dcm")
        assert "with status ERROR    : 1" in send(daemon, tmp_path / "other.dcm")
        assert len(pacs.files()) == 2
        assert states(daemon) == ["DELIVERED"]
        events = daemon.hilum("audit", "events", "--json")
        assert any(e["event"] == "SECURITY" for e in events)

        daemon.hilum("replay", str(study))
        wait_for(lambda: states(daemon) == ["DELIVERED"], 60, "the replay")
        assert len(pacs.files()) == 2, "the same analysis again is the same report"


def test_a_pacs_that_is_away_gets_each_result_once_and_holds_up_nobody(
    tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]
) -> None:
    """Results wait for the PACS that is down, and arrive once it is there; the other destination does not wait."""
    files = [radiograph(tmp_path / f"{n}.dcm") for n in range(3)]
    port = free_port()
    destinations = [sink("away", port), sink("pacs", pacs.port)]
    with Daemon(tmp_path / "hilum", destinations, **untrained) as daemon:
        send(daemon, *files)
        wait_for(lambda: len(pacs.files()) == 3, 60, "the reports at the destination that is there")
        waiting = daemon.hilum("audit", "deliveries", "--destination", "away", "--json")
        assert [row["state"] for row in waiting] == ["PENDING"] * 3
        assert states(daemon) == ["ANALYSED"] * 3
        with storescp(tmp_path / "late", "--unique-filenames", port=port) as late:
            wait_for(lambda: states(daemon) == ["DELIVERED"] * 3, 60, "the late delivery")
            assert len(late.files()) == 3


def test_a_study_that_kills_its_worker_is_put_aside(
    tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]
) -> None:
    """A worker that crashes takes nothing with it, and the study is quarantined after its second try."""
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        daemon.kill()
        daemon.start(kill_at="journal.settled:after-commit", times=0)
        send(daemon, radiograph(tmp_path / "poison.dcm"))
        wait_for(lambda: states(daemon) == ["QUARANTINED"], 90, "the quarantine")
        (row,) = daemon.hilum("quarantine", "list", "--json")
        assert "twice" in row["reason"]
        assert "accepted" in send(daemon, radiograph(tmp_path / "next.dcm")).lower() or len(daemon.studies()) == 2
        daemon.stop()
        daemon.start()
        daemon.hilum("quarantine", "release", row["study_instance_uid"])
        wait_for(lambda: states(daemon) == ["DELIVERED", "DELIVERED"], 60, "the release and the next study")


def test_reload_stop_and_a_full_disk(tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]) -> None:
    """SIGHUP takes the new configuration, SIGTERM ends with 0, and without room nothing is accepted."""
    file = tmp_path / "hilum.toml"
    file.write_text("[log]\nlevel = 'info'\n")
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], HILUM_CONFIG=str(file), **untrained) as daemon:
        assert daemon.process
        del daemon.environ["HILUM__STORAGE__MIN_FREE_BYTES"]
        daemon.stop()
        file.write_text("[storage]\nmin_free_bytes = 1000000\n")
        daemon.start()
        file.write_text("[storage]\nmin_free_bytes = 1000000000000000\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len([e for e in daemon.events if e["event"] == "ready"]) == 2, 60, "the reload")
        send(daemon, radiograph(tmp_path / "a.dcm"))
        assert daemon.studies() == [], "an association was accepted on a full disk"
        file.write_text("[storage]\nmin_free_bytes = -1\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.await_event("configuration refused, the old one stays")
        assert daemon.stop() == 0


def test_parts_end_with_their_parent_and_not_with_their_log(tmp_path: Path, untrained: dict[str, str]) -> None:
    """A parent that is killed alone leaves no part that keeps the port; a log that nobody reads ends nothing."""
    with Daemon(tmp_path / "hilum", [], **untrained) as daemon:
        assert daemon.process
        parts = list(daemon.parts().values())
        os.kill(daemon.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in parts), 60, "the end of every part")
        reader, writer = os.pipe()
        deaf = subprocess.Popen([sys.executable, "-m", "daemon", "serve"], cwd=ROOT, env=daemon.environ, stderr=writer,
                                start_new_session=True)  # fmt: skip
        os.close(writer)
        os.close(reader)
        try:
            wait_for(lambda: answers(daemon.port), 60, "the port")
            deaf.send_signal(signal.SIGHUP)
            send(daemon, radiograph(tmp_path / "a.dcm"))
            wait_for(lambda: states(daemon) == ["ANALYSED"], 60, "the analysis")
            assert deaf.poll() is None
            deaf.send_signal(signal.SIGTERM)
            assert deaf.wait(60) == 0
        finally:
            if deaf.poll() is None:
                os.killpg(deaf.pid, signal.SIGKILL)


def test_a_log_without_reader_is_no_failure() -> None:
    """A process whose log has no reader any more ends as it would have ended."""
    reader, writer = os.pipe()
    os.close(reader)
    script = "from daemon.runtime import log; log.configure('info', 'x'); log.get().info('one'); log.get().info('two')"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as a daemon has it
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stderr=writer, env=environ)
    os.close(writer)
    assert done.returncode == 0


def alive(pid: int) -> bool:
    """Whether this process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_patient_data_in_logs_and_answers(tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]) -> None:
    """A marked patient goes through every path, failures included, and is found in no line that leaves the daemon."""
    marks = {"PatientName": "Zzmarked^Name", "PatientID": "ZZMARKEDID", "AccessionNumber": "ZZMARKEDACC",
             "PatientBirthDate": "19110911", "ReferringPhysicianName": "Zzmarked^Doctor"}  # fmt: skip
    good = radiograph(tmp_path / "good.dcm", **marks)
    hand = dx_file(tmp_path / "hand.dcm", BodyPartExamined="HAND", **marks)
    cut = radiograph(tmp_path / "cut.dcm", **marks)
    dataset = pydicom.dcmread(cut)
    dataset.PixelData = dataset.PixelData[:1000]
    dataset.save_as(cut)
    other = pydicom.dcmread(good)
    other.PatientComments = "Zzmarked comment"
    other.save_as(tmp_path / "other.dcm")
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(good.read_bytes()[:900])
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port), sink("away", free_port())], **untrained) as daemon:
        said = [send(daemon, file) for file in (good, hand, cut, tmp_path / "other.dcm", broken)]
        wait_for(lambda: len(daemon.studies()) == 3 and "RECEIVED" not in states(daemon), 60, "the analysis")
        wait_for(lambda: len(pacs.files()) == 2, 60, "the reports")
        logged = json.dumps(daemon.events)
        daemon.stop()
    assert "analysed" in logged
    for text in (logged, *[s.replace(str(tmp_path), "") for s in said]):
        for mark in ("zzmarked", "19110911"):
            assert mark not in text.lower()
