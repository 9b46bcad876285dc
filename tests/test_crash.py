"""SIGKILL at any moment: what was acknowledged is reported exactly once, and the trail has each step once."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pydicom
import pytest

from dicom_io.part10 import read_part10
from dicom_io.send import Destination, Sender
from storage.spool import FAULT_POINTS
from storage.transactions import FAULT_VERBS
from tests.conftest import require, wait_for
from tests.harness import Daemon, sink
from tests.peers import StoreScpPeer, dx_file, storescp

POINTS = [*FAULT_POINTS, *(f"journal.{verb}:{when}-commit" for verb in FAULT_VERBS for when in ("before", "after"))]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScpPeer]:
    require("storescp")
    with storescp(tmp_path / "sink", "--unique-filenames") as peer:
        yield peer


class Modality:
    """Sends studies until each was acknowledged, as a PACS's own queue does; the daemon may be away meanwhile."""

    def __init__(self, directory: Path, port: int, number: int):
        directory.mkdir()
        self.port = port
        self.files = [dx_file(directory / f"{n}.dcm", BodyPartExamined="CHEST") for n in range(number)]
        self.studies = [str(pydicom.dcmread(f, stop_before_pixels=True).StudyInstanceUID) for f in self.files]

    def send(self, file: Path) -> bool:
        """One C-STORE; whether it was answered 0x0000."""
        image = read_part10(file.read_bytes())
        to = Destination("HILUM", "127.0.0.1", self.port, sop_classes=(image.sop_class_uid,))
        sender = Sender("MODALITY", to, timeout_seconds=10)
        sent = sender.send(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.data)
        sender.close()
        return sent.status == 0

    def send_until_acknowledged(self, files: list[Path], stop: threading.Event) -> None:
        for file in files:
            while not self.send(file) and not stop.is_set():
                stop.wait(0.05)


def delivered(daemon: Daemon, number: int) -> bool:
    states = [row["state"] for row in daemon.studies()]
    return len(states) == number and set(states) == {"DELIVERED"}


def exactly_once(daemon: Daemon, pacs: StoreScpPeer, modality: Modality) -> None:
    """Each study has one report at the PACS, the same bytes however often it came, and each transition one row."""
    reports: dict[str, set[str]] = {}
    for file in pacs.files():
        image = read_part10(file.read_bytes())
        study = str(pydicom.dcmread(file).StudyInstanceUID)
        reports.setdefault(study, set()).add(f"{image.sop_instance_uid} {sha256(image.data).hexdigest()}")
    assert set(reports) == set(modality.studies)
    assert all(len(versions) == 1 for versions in reports.values()), reports
    events = daemon.hilum("audit", "events", "--json", "--limit", "100000")
    steps = Counter(
        (e["study_instance_uid"], e["from_state"], e["to_state"]) for e in events if e["from_state"] != e["to_state"]
    )
    expected = [("", "RECEIVED"), ("RECEIVED", "ANALYSED"), ("ANALYSED", "DELIVERED")]
    assert steps == {(study, *step): 1 for study in modality.studies for step in expected}
    assert "as it was written" in daemon.hilum("audit", "verify")


@pytest.mark.timeout(600)
def test_a_kill_at_every_durable_operation(tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]) -> None:
    """Killed at each point in turn, started again: no acknowledged study is lost, none is reported twice."""
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        modality = Modality(tmp_path / "studies", daemon.port, len(POINTS))
        acknowledged = set()
        for point, file in zip(POINTS, modality.files, strict=True):
            daemon.kill()
            daemon.start(kill_at=point)
            for earlier in [f for f in modality.files[: modality.files.index(file)] if f not in acknowledged]:
                if modality.send(earlier):
                    acknowledged.add(earlier)
            if modality.send(file):
                acknowledged.add(file)
            wait_for(lambda: not daemon.alive, 60, f"the kill at {point}")
        daemon.start()
        for file in modality.files:
            if file not in acknowledged:
                assert modality.send(file)
        wait_for(lambda: delivered(daemon, len(POINTS)), 60, f"every delivery: {daemon.studies()}")
        exactly_once(daemon, pacs, modality)


@pytest.mark.timeout(600)
def test_kills_at_random_under_load(tmp_path: Path, pacs: StoreScpPeer, untrained: dict[str, str]) -> None:
    """Killed again and again while modalities send: the same promise."""
    chance = random.Random(7)
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        modality = Modality(tmp_path / "studies", daemon.port, 60)
        stop = threading.Event()
        senders = [
            threading.Thread(target=modality.send_until_acknowledged, args=(modality.files[n::3], stop))
            for n in range(3)
        ]
        for sender in senders:
            sender.start()
        for _ in range(5):
            time.sleep(chance.uniform(0.2, 1.5))  # the moment of the kill is the input of this test
            daemon.kill()
            daemon.start()
        for sender in senders:
            sender.join(120)
        stop.set()
        wait_for(lambda: delivered(daemon, len(modality.files)), 120, "every study's delivery")
        exactly_once(daemon, pacs, modality)
