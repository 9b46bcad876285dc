"""Disk, database, spool, PACS and decoder fail under the running daemon: nothing acknowledged is lost, it lives on."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_io.image.part10 import read_part10
from dicom_io.network.statuses import Status
from dicom_io.services.reply import Reply
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import wait_for
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file
from tests.support.postgres import PostgresServer
from tests.system.chaos import Modality, compare, settle, working

pytest_plugins = ["tests.support.postgres"]


@pytest.fixture
def pacs() -> Iterator[FlakyPacs]:
    with FlakyPacs() as peer:
        yield peer


class Disk:
    """A small file system of its own, which a test fills, empties and makes read-only."""

    def __init__(self, directory: Path, size: int):
        self.directory = directory
        directory.mkdir(parents=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}", "hilum-test", str(directory))

    @staticmethod
    def _run(*command: str) -> None:
        """As root, or by a sudo that asks nothing; skips where neither may mount, as in some containers."""
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        done = subprocess.run([*as_root, *command], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")

    def fill(self, leave: int = 0) -> None:
        """Take all room but `leave` bytes."""
        with (self.directory / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while (room := shutil.disk_usage(self.directory).free - leave) > 0:
                ballast.write(b"\0" * min(room, 1 << 20))

    def empty(self) -> None:
        """Give the room back."""
        (self.directory / "ballast").unlink()

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        self._run("mount", "-o", f"remount,{how}", str(self.directory))

    def close(self) -> None:
        self._run("umount", "-l", str(self.directory))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str, int], Disk]]:
    """Mounts disks below `tmp_path`; they go with the test."""
    with contextlib.ExitStack() as mounted:

        def mount(name: str, size: int) -> Disk:
            made = Disk(tmp_path / name, size)
            mounted.callback(made.close)
            return made

        yield mount


class Kept:
    """A modality that keeps its association open."""

    def __init__(self, daemon: Daemon, name: str = "KEPT"):
        self.sender = Sender(name, Destination("HILUM", "127.0.0.1", daemon.port, sop_classes=(DX,)), 60)

    def send(self, file: Path) -> Reply:
        image = read_part10(file.read_bytes())
        return self.sender.send(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.data)


DX = "1.2.840.10008.5.1.4.1.1.1.1"


def incoming(daemon: Daemon) -> list[Path]:
    """What is half written in the spool."""
    return [*(daemon.directory / "spool/incoming").iterdir(), *(daemon.directory / "spool/objects").glob("*/*.part")]


def objects(daemon: Daemon) -> list[Path]:
    return list((daemon.directory / "spool/objects").glob("*/*.dcm"))


def without_faults(daemon: Daemon) -> None:
    """No part ended or died; that a request failed, or an analysis waits, may be in the log."""
    assert daemon.alive
    assert not [
        e for e in daemon.faults() if e["event"] in ("unhandled exception", "part ended", "cannot work", "not json")
    ]


# --- disk --------------------------------------------------------------------------------------------------------


def test_below_the_minimum_nothing_more_is_taken(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str], disk: Callable[[str, int], Disk]
) -> None:
    """Below min_free_bytes an open association gets A700 and a new one is refused, while the disk still has room."""
    volume = disk("hilum", 64 << 20)
    room = {"HILUM__STORAGE__MIN_FREE_BYTES": str(16 << 20)}
    with Daemon(volume.directory, [sink("pacs", pacs.port)], **untrained, **room) as daemon:
        modality, kept = Modality(tmp_path / "studies", daemon.port), Kept(daemon)
        first, second, third = modality.make(3)
        assert kept.send(first).status == Status.SUCCESS
        volume.fill(leave=15 << 20)
        wait_for(lambda: kept.sender.echo().status == 0 and kept.send(second).status == Status.OUT_OF_RESOURCES, 10)
        assert not modality.send(third), "an association was accepted"
        assert incoming(daemon) == []
        volume.empty()
        wait_for(lambda: kept.send(second).status == Status.SUCCESS and modality.send(third), 10, "the room to be seen")
        kept.sender.close()
        wait_for(lambda: daemon.states() == {"DELIVERED": 3}, 60, "the deliveries")
        without_faults(daemon)


def test_disk_full_in_the_middle_of_a_write(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str], disk: Callable[[str, int], Disk]
) -> None:
    """Spool and database run out of room at any byte: A700, nothing half-written, and all goes on with room again."""
    volume = disk("hilum", 48 << 20)
    room = {"HILUM__STORAGE__MIN_FREE_BYTES": "1"}
    with Daemon(volume.directory, [sink("pacs", pacs.port)], **untrained, **room) as daemon:
        modality = Modality(tmp_path / "studies", daemon.port)
        large = dx_file(tmp_path / "large.dcm", 1000, 1000, BodyPartExamined="CHEST")
        assert modality.send(modality.make()[0])
        wait_for(lambda: daemon.states() == {"DELIVERED": 1}, 60, "the first delivery")
        kept = Kept(daemon)
        answers = []
        for leave in (1_000_000, 60_000, 4_096, 0):  # in the middle of the object, of the journal's pages, at once
            volume.fill(leave)
            answers.append(kept.send(large).status)
            answers += [kept.send(file).status for file in modality.make(2)]
            (volume.directory / "ballast").unlink()
        assert Status.OUT_OF_RESOURCES in answers
        assert set(answers) <= {Status.OUT_OF_RESOURCES, Status.SUCCESS}
        taken = 1 + answers.count(Status.SUCCESS)
        assert incoming(daemon) == []
        wait_for(lambda: kept.send(large).status == Status.SUCCESS, 10, "the receiver to see that there is room")
        assert all(kept.send(file).status == Status.SUCCESS for file in modality.files)
        kept.sender.close()
        wait_for(lambda: daemon.states() == {"DELIVERED": 10}, 90, f"every delivery, {taken} were taken before")
        without_faults(daemon)
        assert daemon.stop() == 0
        daemon.start()  # an object whose row found no room was never acknowledged, and goes
        assert len(objects(daemon)) == 10


def test_read_only_spool(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str], disk: Callable[[str, int], Disk]
) -> None:
    """A spool that turns read-only answers A700 on the open association, and takes objects once it is writable."""
    volume = disk("hilum/spool", 32 << 20)
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        modality, kept = Modality(tmp_path / "studies", daemon.port), Kept(daemon)
        first, second = modality.make(2)
        assert kept.send(first).status == Status.SUCCESS
        volume.remount("ro")
        assert kept.send(second).status == Status.OUT_OF_RESOURCES
        wait_for(lambda: daemon.states() == {"DELIVERED": 1}, 60, "what was taken to be delivered all the same")
        volume.remount("rw")
        assert kept.send(second).status == Status.SUCCESS
        kept.sender.close()
        wait_for(lambda: daemon.states() == {"DELIVERED": 2}, 60, "the second delivery")
        without_faults(daemon)


# --- database ----------------------------------------------------------------------------------------------------


def test_locked_database(tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str]) -> None:
    """Somebody holds SQLite's write lock for seconds: senders wait, then are answered, and nothing is lost."""
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        modality = Modality(tmp_path / "studies", daemon.port)
        files = modality.make(4)
        lock = sqlite3.connect(daemon.directory / "hilum.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=modality.send, args=[file]) for file in files]
        for thread in threads:
            thread.start()
        threads[0].join(3.0)  # how long it is held is the input of this test
        assert modality.acknowledged == [], "an object was acknowledged without its journal row"
        lock.execute("ROLLBACK")
        lock.close()
        for thread in threads:
            thread.join()
        assert len(modality.acknowledged) == 4
        settle(daemon, set(modality.acknowledged))
        compare(daemon, pacs, set(modality.acknowledged))
        without_faults(daemon)


def test_postgresql_goes_away_and_comes_back(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str], postgres: PostgresServer
) -> None:
    """Stopped in the middle of the work: senders get A700, every part waits, and all finishes once it is back."""
    url = postgres.create_database()
    database = {"HILUM__STORAGE__DATABASE": url}
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained, **database) as daemon:
        modality, kept = Modality(tmp_path / "studies", daemon.port), Kept(daemon)
        last = modality.make()[0]
        with working(lambda stop: [modality.send_until_acknowledged(f, stop) for f in modality.make(6)]):
            wait_for(lambda: modality.acknowledged, 30, "the first study")
            postgres.stop(signal.SIGQUIT)
            try:
                assert kept.send(last).status == Status.OUT_OF_RESOURCES
                assert incoming(daemon) == []
            finally:
                postgres.start()
            wait_for(lambda: len(set(modality.acknowledged)) == 6, 60, "the senders")
        wait_for(lambda: modality.send(last), 30, "the last study")
        kept.sender.close()
        settle(daemon, set(modality.acknowledged))
        compare(daemon, pacs, set(modality.acknowledged))
        assert {e["error"] for e in daemon.faults() if e["event"] == "unhandled exception"} <= {"DatabaseUnavailable"}
    postgres.drop_database(url)


# --- spool -------------------------------------------------------------------------------------------------------


def test_missing_and_altered_objects(tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str]) -> None:
    """An object that the spool lost or altered, before analysis or before a replay, is put aside with its reason."""
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained,
                HILUM__STUDY__SETTLE_SECONDS="3") as daemon:  # fmt: skip
        modality = Modality(tmp_path / "studies", daemon.port)
        assert all(modality.send(file) for file in modality.make(3))
        lost, altered, good = modality.acknowledged
        with daemon.store() as store:

            def spooled(study: str) -> Path:
                detail = store.queries.study_detail(study)
                assert detail
                return daemon.directory / "spool" / detail["instances"][0]["spool_name"]

            spooled(lost).unlink()
            with spooled(altered).open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\x55")
            wait_for(lambda: daemon.states() == {"QUARANTINED": 2, "DELIVERED": 1}, 60, "the quarantine")
            reasons = {row["study_instance_uid"]: row["reason"] for row in daemon.rows()}
            assert "missing from the spool" in reasons[lost]
            assert "was altered" in reasons[altered]
            os.truncate(spooled(good), 1000)
        with daemon.journal() as journal:
            journal.replay(good, datetime.now(UTC))
        wait_for(lambda: daemon.states() == {"QUARANTINED": 3}, 60, "the replay")
        assert modality.send(modality.make()[0])
        wait_for(lambda: daemon.states()["DELIVERED"] == 1, 60, "the next study")
        without_faults(daemon)


# --- PACS --------------------------------------------------------------------------------------------------------


def test_a_pacs_on_its_bad_days_gets_each_result_once(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str]
) -> None:
    """Down, then cut in mid-object, aborting, busy, talking nonsense, slow: each result arrives once, the urgent
    first but for an object that was answered with a failure, and the other destination does not wait. C000 is for a
    person, who may send it again."""
    moods = ["drop", "abort", "busy", "nonsense", "accept", "drop", "slow", "nonsense", "warn", "busy"]
    bad = FlakyPacs(lambda number: moods[number] if number < len(moods) else "accept")
    peers = [{"ae_title": f"M{n}", "host": "127.0.0.1", "priority": n} for n in (0, 1, 2)]
    with Daemon(tmp_path / "hilum", [sink("bad", bad.port, ae_title="PACS"), sink("pacs", pacs.port)], **untrained,
                HILUM__PEER=json.dumps(peers)) as daemon:  # fmt: skip
        modalities = [Modality(tmp_path / f"m{n}", daemon.port, f"M{n}") for n in (2, 1, 0)]
        for modality in modalities:
            assert all(modality.send(file) for file in modality.make(2))
        wait_for(lambda: len(pacs.taken) == 6, 60, "the destination that is there, while the other one is down")
        assert daemon.states() == {"ANALYSED": 6}
        with bad:
            wait_for(lambda: daemon.states() == {"DELIVERED": 6}, 60, f"the bad PACS: {bad.tried}")
            assert bad.tried[: len(moods)] == moods
            assert len(bad.taken) == len(bad.reports()) == 6
            by_report = {o: m.name for m in modalities for s in m.acknowledged for o in results(daemon, s)}
            arrived = Counter(by_report[taken.sop_instance_uid] for taken in bad.taken)
            assert list(arrived.items()) == [("M0", 2), ("M1", 2), ("M2", 2)]  # in the order of each one's first

            bad.script = lambda number: "refuse"
            refused = modalities[0]
            assert refused.send(refused.make()[0])
            wait_for(lambda: daemon.states() == {"DELIVERED": 6, "QUARANTINED": 1}, 60, "the refusal")
            (row,) = [row for row in daemon.rows() if row["state"] == "QUARANTINED"]
            assert row["reason"] == "refused by bad with status 0xC000"
            bad.script = lambda number: "accept"
            daemon.hilum("quarantine", "release", row["study_instance_uid"])
            wait_for(lambda: daemon.states() == {"DELIVERED": 7}, 60, "the release")
            compare(daemon, bad, {s for m in modalities[1:] for s in m.acknowledged})
            assert len(pacs.taken) == 7
        without_faults(daemon)


def results(daemon: Daemon, study: str) -> list[str]:
    """SOP Instance UIDs of what was made of a study."""
    with daemon.store() as store:
        detail = store.queries.study_detail(study)
    assert detail
    return [o["sop_instance_uid"] for o in detail["objects"]]


# --- poison ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_poison(tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str]) -> None:
    """Images on which a decoder crashes, hangs or eats memory: each is put aside after its second try at the latest,
    the ones beside them are analysed, and the receiver answers all the while."""
    limits = {"HILUM__MODEL__TIME_LIMIT_SECONDS": "2", "HILUM__MODEL__MEMORY_LIMIT_BYTES": "6000000000",
              "HILUM__STUDY__SETTLE_SECONDS": "1"}  # fmt: skip
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained, **limits) as daemon:
        daemon.kill()
        daemon.start(kill_at="decode", times=0)
        modality = Modality(tmp_path / "studies", daemon.port)
        bad = [dx_file(tmp_path / f"{kind}.dcm", 64, 64, BodyPartExamined="CHEST", ImageComments=kind)
               for kind in ("crash", "hang", "eat")]  # fmt: skip
        good = modality.make(3)
        for file in (good[0], bad[0], good[1], bad[1], bad[2], good[2]):
            assert modality.send(file)
        kept = Kept(daemon)

        def over() -> bool:
            assert kept.sender.echo().status == 0, "the receiver does not answer"
            return daemon.states() == {"DELIVERED": 3, "QUARANTINED": 3}

        wait_for(over, 250, "the quarantine")
        kept.sender.close()
        reasons = sorted(row["reason"] for row in daemon.rows() if row["state"] == "QUARANTINED")
        assert reasons[0].startswith("analysis died twice")
        assert reasons[1].startswith("analysis died twice")
        assert reasons[2].startswith("memory ran out")
        ends = [e["cause"] for e in daemon.faults() if e["event"] == "part ended"]
        assert set(ends) == {"SIGSEGV", "SIGALRM"}
        quarantined = {row["study_instance_uid"] for row in daemon.rows() if row["state"] == "QUARANTINED"}
        with daemon.journal() as journal:
            wait_for(lambda: not any(s == "PENDING" for _, s in journal.delivery_counts()), 60, "the notices")
        with daemon.store() as store:
            told = {uid: store.queries.results(uid) for uid in quarantined}
        assert all(told.values()), "the radiologist is not told of every study that was put aside"
        assert len([e for e in daemon.events if e["event"] == "started" and e["part"] == "receive"]) == 1
