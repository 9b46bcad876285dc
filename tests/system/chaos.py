"""Senders, a PACS on its bad days and a killer at once; then what was acknowledged is compared with what arrived.

`python -m tests.system.chaos --seconds 300 --seed 1`
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pydicom

from dicom_io.image.part10 import read_part10
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import wait_for
from tests.support.bundles import as_settings, small_bundle
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file

WEATHER = ["accept"] * 6 + ["warn", "busy", "slow", "drop", "abort", "nonsense"]
LONGEST_LIFE_SECONDS = 30.0
PARTS = ("receive", "deliver", "house", "analyse-0")


class Modality:
    """Sends its studies until each was acknowledged, as a modality's own queue does; the daemon may be away."""

    def __init__(self, directory: Path, port: int, name: str = "MODALITY"):
        directory.mkdir()
        self.directory, self.port, self.name = directory, port, name
        self.files: list[Path] = []
        self.acknowledged: list[str] = []
        """Study Instance UIDs of what was answered 0x0000."""
        self.attempts = 0

    def make(self, number: int = 1) -> list[Path]:
        """So many more studies of one small image each."""
        made = [
            dx_file(self.directory / f"{len(self.files) + n}.dcm", 64, 64, BodyPartExamined="CHEST")
            for n in range(number)
        ]
        self.files += made
        return made

    def send(self, file: Path) -> bool:
        """One C-STORE; whether it was answered 0x0000."""
        image = read_part10(file.read_bytes())
        to = Destination("HILUM", "127.0.0.1", self.port, sop_classes=(image.sop_class_uid,))
        sender = Sender(self.name, to, timeout_seconds=10)
        self.attempts += 1
        sent = sender.send(image.sop_class_uid, image.sop_instance_uid, image.transfer_syntax_uid, image.data)
        sender.close()
        if sent.status == 0:
            self.acknowledged.append(str(pydicom.dcmread(file, stop_before_pixels=True).StudyInstanceUID))
        return sent.status == 0

    def send_until_acknowledged(self, file: Path, stop: threading.Event) -> None:
        while not self.send(file) and not stop.is_set():
            stop.wait(0.2)

    def work(self, stop: threading.Event, *, chance: random.Random) -> None:
        """Study after study, until `stop`."""
        while not stop.is_set():
            self.send_until_acknowledged(self.make()[0], stop)
            stop.wait(chance.uniform(0.05, 0.5))


class Killer:
    """SIGKILL for parts and for the whole daemon, which is then started again."""

    def __init__(self, daemon: Daemon, chance: random.Random):
        self.daemon, self._chance = daemon, chance
        self.kills: Counter[str] = Counter()

    def work(self, stop: threading.Event) -> None:
        while not stop.wait(self._chance.uniform(0.5, 4.0)):
            victim = self._chance.choice([*PARTS, *PARTS, "all"])
            self.kills[victim] += 1
            if victim == "all":
                self.daemon.kill()
                self.daemon.start()
            elif pid := self.daemon.parts().get(victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._chance.random() < 0.8:
                self._let_live(stop)

    def _let_live(self, stop: threading.Event) -> None:
        """Until something is delivered again: who kills only what is still starting meets nothing half-done."""
        seen, deadline = len(self.daemon.events), time.monotonic() + LONGEST_LIFE_SECONDS
        while not stop.wait(0.1) and time.monotonic() < deadline:
            if any(e.get("event") in ("sent", "destination unreachable") for e in self.daemon.events[seen:]):
                return


def weather(pacs: FlakyPacs, stop: threading.Event, *, chance: random.Random) -> None:
    """Now and then the PACS is down for a while."""
    while not stop.wait(chance.uniform(3.0, 10.0)):
        pacs.stop()
        stop.wait(chance.uniform(0.5, 4.0))
        pacs.start()


@contextlib.contextmanager
def working(*jobs: Callable[[threading.Event], object]) -> Iterator[threading.Event]:
    """Each job in a thread of its own until the end of the block; each is told by an event, and must then end."""
    stop, failed = threading.Event(), []

    def run(job: Callable[[threading.Event], object]) -> None:
        try:
            job(stop)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


def chaos(directory: Path, bundle: dict[str, str], seconds: float, seed: int, senders: int = 3) -> dict[str, object]:
    """All of it for `seconds`, then calm; asserts the promises, and returns the figures."""
    chance = random.Random(seed)
    script = random.Random(seed + 1)
    pacs = FlakyPacs(lambda number: script.choice(WEATHER))
    with pacs, Daemon(directory / "hilum", [sink("pacs", pacs.port)], **bundle) as daemon:
        modalities = [Modality(directory / f"m{n}", daemon.port, f"MODALITY{n}") for n in range(senders)]
        killer = Killer(daemon, chance)
        jobs = [partial(m.work, chance=random.Random(seed + 10 + n)) for n, m in enumerate(modalities)]
        with working(*jobs, killer.work, partial(weather, pacs, chance=random.Random(seed + 2))):
            time.sleep(seconds)  # how long it lasts is the input
        pacs.script = lambda number: "accept"
        acknowledged = {study for m in modalities for study in m.acknowledged}
        released = settle(daemon, acknowledged)
        compare(daemon, pacs, acknowledged)
    return {
        "acknowledged": len(acknowledged),
        "attempts": sum(m.attempts for m in modalities),
        "kills": dict(killer.kills),
        "pacs": dict(Counter(pacs.tried)),
        "sent again": len(pacs.taken) - len(pacs.reports()),
        "released": released,
    }


def settle(daemon: Daemon, acknowledged: set[str], seconds: float = 240) -> int:
    """Wait until every study is DELIVERED. Returns how many a person had to release: an analyst killed twice in the
    middle of the same study is taken for the study's doing."""
    released: Counter[str] = Counter()

    def calm() -> bool:
        rows = daemon.rows()
        for row in rows:
            if row["state"] == "QUARANTINED" and "analysis died" in row["reason"]:
                daemon.hilum("quarantine", "release", row["study_instance_uid"])
                released[row["study_instance_uid"]] += 1
        return {row["study_instance_uid"] for row in rows if row["state"] == "DELIVERED"} >= acknowledged

    wait_for(calm, seconds, f"calm; {daemon.states()}")
    return released.total()


def compare(daemon: Daemon, pacs: FlakyPacs, acknowledged: set[str]) -> None:
    """Each acknowledged study has one report at the PACS, with one content however often it was sent; each step of
    each study has one row in the audit trail, and the trail is whole."""
    reports = pacs.reports()
    made: dict[str, list[str]] = {}
    steps: Counter[tuple[str, str]] = Counter()
    last: dict[str, str] = defaultdict(str)
    with daemon.store() as store:
        for study in acknowledged:
            detail = store.queries.study_detail(study)
            assert detail, f"{study} was acknowledged and is not in the journal"
            made[study] = [o["sop_instance_uid"] for o in detail["objects"]]
        events = store.queries.events(limit=1_000_000)
    for event in events:
        if event["from_state"] != event["to_state"]:
            assert event["from_state"] == last[event["study_instance_uid"]], event
            last[event["study_instance_uid"]] = event["to_state"]
            steps[event["study_instance_uid"], event["to_state"]] += 1
    for study in acknowledged:
        assert len(made[study]) == 1, f"{study} has the results {made[study]}"
        assert len(reports.get(made[study][0], ())) == 1, f"{study} is at the PACS as {reports.get(made[study][0])}"
        assert [steps[study, state] for state in ("ANALYSED", "DELIVERED")] == [1, 1], study
    assert "as it was written" in daemon.hilum("audit", "verify")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-chaos-") as name:
        directory = Path(name)
        settings = as_settings(small_bundle(directory / "bundle"))
        for what, figure in chaos(directory, settings, arguments.seconds, arguments.seed).items():
            print(f"{what:14} {figure}")
    print("nothing lost, nothing twice")


if __name__ == "__main__":
    sys.exit(main())
