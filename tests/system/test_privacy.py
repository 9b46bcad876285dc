"""A marked patient goes through every path, good and bad: nothing of him stands in any line that leaves the daemon."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_io.image.part10 import read_part10
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import ROOT, wait_for
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file, free_port

MARKS = {
    "PatientName": "Zzmarkname^Ünique", "PatientID": "ZZMARKID", "AccessionNumber": "ZZMARKACC",
    "PatientBirthDate": "19110911", "PatientComments": "zzmarkcomment", "ReferringPhysicianName": "Zzmarkdoctor",
    "StudyDescription": "zzmarkstudy", "OtherPatientIDs": "ZZMARKOTHER", "SpecificCharacterSet": "ISO_IR 192",
}  # fmt: skip
ASTRAY = {"BodyPartExamined": "Zzmark^Body", "ViewPosition": "ZZMARKVIEW", "Manufacturer": "Zzmarkmaker",
          "SeriesDescription": "標識^太郎", "StationName": "ZZMARKSTATION"}  # fmt: skip
FOUND = ("zzmark", "19110911", "ünique", "標識")


def marked(path: Path, **elements: str) -> Path:
    return dx_file(path, 64, 64, **{"BodyPartExamined": "CHEST", **MARKS, **elements})


def damaged(path: Path, keep: float, **elements: str) -> Path:
    """A file whose pixels end early, or whose header does."""
    marked(path, **elements)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[: int(len(dataset.PixelData) * keep) // 2 * 2]
    dataset.save_as(path)
    return path


def send(daemon: Daemon, file: Path, uid: str = "", called: str = "HILUM", cut: int | None = None) -> str:
    """What the daemon answers a sender, in words."""
    image = read_part10(file.read_bytes())
    to = Destination(called, "127.0.0.1", daemon.port, sop_classes=(image.sop_class_uid,))
    sender = Sender("MODALITY", to, timeout_seconds=20)
    sent = sender.send(image.sop_class_uid, uid or image.sop_instance_uid, image.transfer_syntax_uid, image.data[:cut])
    sender.close()
    return f"{sent.status} {sent.comment}"


def command(daemon: Daemon, *arguments: str | Path) -> str:
    """All that a command says, whatever comes of it."""
    done = subprocess.run([sys.executable, "-m", "daemon", *map(str, arguments)], cwd=ROOT, env=daemon.environ,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout + done.stderr


def page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def titles(daemon: Daemon) -> str:
    """What `ps` shows of the parts."""
    seen = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in daemon.parts().values() for name in ("cmdline", "comm")]
    return b" ".join(seen).decode()


@pytest.mark.timeout(600)
def test_nothing_of_a_patient_leaves_the_daemon(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Received, analysed, refused, ignored, in conflict, mismatched, unreadable, poisoned, altered in the spool, not
    deliverable and refused with a comment, at log level debug: no mark in logs, answers, commands, HTTP, titles."""
    port = free_port()
    more = {"HILUM__LOG__LEVEL": "debug", "HILUM__HTTP__ENABLED": "true", "HILUM__HTTP__PORT": str(port),
            "HILUM__STUDY__SETTLE_SECONDS": "1"}  # fmt: skip
    refusing = FlakyPacs(lambda number: "refuse")
    with refusing, Daemon(tmp_path / "hilum", [sink("pacs", refusing.port), sink("away", free_port())],
                          **untrained, **more) as daemon:  # fmt: skip
        daemon.kill()
        daemon.start(kill_at="decode", times=0)
        good = marked(tmp_path / "good.dcm")
        other = pydicom.dcmread(good)
        other.PatientComments = "zzmark changed"
        other.save_as(tmp_path / "other.dcm")
        lost = marked(tmp_path / "lost.dcm", StudyInstanceUID=generate_uid())
        said = [
            send(daemon, good), send(daemon, tmp_path / "other.dcm"),
            send(daemon, marked(tmp_path / "hand.dcm", BodyPartExamined="HAND")),
            send(daemon, marked(tmp_path / "astray.dcm", **ASTRAY)),
            send(daemon, damaged(tmp_path / "short.dcm", 0.5)),
            send(daemon, marked(tmp_path / "mismatch.dcm"), uid="1.2.3.4"),
            send(daemon, marked(tmp_path / "cut.dcm"), cut=333),
            send(daemon, good, called="ZZOTHER"),
            send(daemon, marked(tmp_path / "crash.dcm", ImageComments="crash")),
            send(daemon, marked(tmp_path / "raise.dcm", ImageComments="raise")),
            send(daemon, lost),
        ]  # fmt: skip
        for path in (daemon.directory / "spool/objects").glob("*/*.dcm"):
            if str(pydicom.dcmread(path).StudyInstanceUID) == str(pydicom.dcmread(lost).StudyInstanceUID):
                path.unlink()
        wait_for(lambda: daemon.states()["QUARANTINED"] >= 3 and not daemon.states()["RECEIVED"], 250, "the analysis")
        wait_for(
            lambda: "refuse" in refusing.tried and any(e["event"] == "destination unreachable" for e in daemon.events),
            60,
        )
        reasons = [row["reason"] for row in daemon.rows()]
        assert any("unexpected LookupError" in reason for reason in reasons), reasons
        assert any("missing from the spool" in reason for reason in reasons), reasons
        assert any("analysis died twice" in reason for reason in reasons), reasons
        said += [page(port, path) for path in ("/health", "/metrics", "/nowhere", "/api/v1/studies?limit=x")]
        said += [command(daemon, *words) for words in (["check"], ["audit", "verify"], ["quarantine", "show", "9"])]
        files = [tmp_path / f"{name}.dcm" for name in ("good", "short", "astray", "hand")]
        (tmp_path / "broken.dcm").write_bytes(good.read_bytes()[:900])
        said += [command(daemon, "predict", *files, tmp_path / "broken.dcm"), titles(daemon)]
        logged = json.dumps(daemon.events, ensure_ascii=False)
        assert daemon.stop() == 0
    assert {json.dumps(e) for e in daemon.events if e["event"] == "not json"} == set(), "a library printed something"
    for text in (logged, *said):
        for mark in FOUND:
            assert mark not in text.lower(), (mark, text[max(text.lower().find(mark) - 300, 0) :][:600])
