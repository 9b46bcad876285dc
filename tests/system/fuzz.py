"""Mutated objects by C-STORE and mutated conversations at the socket, against the real daemon.

`python -m tests.system.fuzz --count 20000 --seed 1`; the same seed gives the same inputs.
"""

import argparse
import contextlib
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import shared_path, wait_for
from tests.support.bundles import as_settings, small_bundle
from tests.support.harness import Daemon, Usage, sink
from tests.support.mutations import Seed, conversation, mutated, mutated_conversation, seeds
from tests.support.peers import dx_file, storescp
from tests.system.chaos import working

SENDERS = 2
BATCH = 500
STUDY = 10  # images of a study
CONVERSATIONS = 5  # one for so many objects
GROWTH = 1.25  # of memory from the end of the warm-up to the end; the parts run for minutes only
SEVERAL_PATIENTS = "the images are of "  # the reason where a mutation changed the Patient ID of some images of a study
SLACK = 40_000_000  # bytes: an allocator's caprices, beside a leak of one object for each input


@dataclass
class Figures:
    """What came out."""

    objects: int = 0
    conversations: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    states: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    usage: list[dict[str, Usage]] = field(default_factory=list)


class Fuzz:
    """One run: the daemon is `daemon`, its inputs come from `seed`."""

    def __init__(self, daemon: Daemon, seed: int, count: int, corpus: list[Seed], pdus: list[bytes]):
        self.daemon, self.corpus, self.pdus, self.seed, self.count = daemon, corpus, pdus, seed, count
        self.figures = Figures()
        self.acknowledged: set[str] = set()

    def run(self) -> Figures:
        began = time.monotonic()
        for first in range(0, self.count, BATCH):
            numbers = range(first, min(first + BATCH, self.count))
            with working(*[partial(self._send, numbers[n::SENDERS]) for n in range(SENDERS)]):
                pass
            for number in numbers[::CONVERSATIONS]:
                self._converse(random.Random(f"{self.seed} conversation {number}"))
            self._calm()
            self.figures.usage.append(self.daemon.usage())
        with self.daemon.journal() as journal:
            wait_for(lambda: not any(state == "PENDING" for _, state in journal.delivery_counts()), 300, "the PACS")
        self._look()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def input(self, number: int) -> Seed:
        """The object of that number."""
        chance = random.Random(f"{self.seed} {number}")
        study = f"2.25.{self.seed}.{number // (SENDERS * STUDY)}.{number % SENDERS}"
        return mutated(chance.choice(self.corpus), chance, study, f"{study}.{number}")

    def _send(self, numbers: range, _stop: object) -> None:
        """Every object over one association, opened again where the daemon ended it."""
        to = Destination("HILUM", "127.0.0.1", self.daemon.port, sop_classes=RADIOGRAPH_SOP_CLASSES)
        sender = Sender("FUZZ", to, timeout_seconds=60)
        for number in numbers:
            made = self.input(number)
            sent = sender.send(made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid, made.data)
            self.figures.objects += 1
            self.figures.answers["none" if sent.status is None else f"{sent.status:04X}"] += 1
            if sent.status is None:
                self.figures.findings.append(f"object {number}: no answer, {sent.comment}")
            if sent.status == 0x0000:
                self.acknowledged.add(made.study_instance_uid)
        sender.close()

    def _converse(self, chance: random.Random) -> None:
        """Says all of it at once and reads until the daemon closes, or for a while where it waits for more."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.daemon.port), 5) as peer:
            self.figures.conversations += 1
            peer.sendall(mutated_conversation(self.pdus, chance))
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(10)
            try:
                while peer.recv(65536):
                    pass
            except TimeoutError:
                self.figures.findings.append("a connection whose peer closed was kept open")

    def _calm(self) -> None:
        """All that was taken in has been worked on, and the daemon answers."""
        sender = Sender("FUZZ", Destination("HILUM", "127.0.0.1", self.daemon.port), timeout_seconds=30)
        if sender.echo().status != 0:
            self.figures.findings.append("C-ECHO was not answered")
        sender.close()
        with self.daemon.journal() as journal:
            wait_for(lambda: not journal.counts()["RECEIVED"], 600, f"the analysis: {self.daemon.events[-3:]}")

    def _look(self) -> None:
        rows = {row["study_instance_uid"]: row for row in self.daemon.rows()}
        self.figures.states = dict(Counter(row["state"] for row in rows.values()))
        found = self.figures.findings
        found += [f"study {uid} was acknowledged and lost" for uid in self.acknowledged - set(rows)]
        found += [f"study {uid} in quarantine: {row['reason']}" for uid, row in rows.items()
                  if row["state"] == "QUARANTINED" and not row["reason"].startswith(SEVERAL_PATIENTS)]  # fmt: skip
        found += [f"study {uid} in state {row['state']} without a reason" for uid, row in rows.items()
                  if not row["findings"] and not row["reason"]]  # fmt: skip
        found += [f"the daemon said {line}" for line in self.daemon.faults() if SEVERAL_PATIENTS not in str(line)]
        found += grown(self.figures.usage)


def grown(usage: list[dict[str, Usage]], warm_up: float = 0.4) -> list[str]:
    """What each part takes at the end against the end of the warm-up: memory, descriptors and threads that grew."""
    warm = usage[int(len(usage) * warm_up) : -1] or usage
    found = []
    for part, last in usage[-1].items():
        first = warm[0].get(part, last)
        if last.memory > GROWTH * first.memory + SLACK:
            found.append(f"{part} grew from {first.memory >> 20} to {last.memory >> 20} MiB")
        most = max((u[part] for u in warm if part in u), key=lambda u: u.descriptors, default=last)
        if last.descriptors > most.descriptors + 3:
            found.append(f"{part} has {last.descriptors} descriptors, {most.descriptors} before")
        if last.threads > max(u[part].threads for u in warm if part in u) + 3:
            found.append(f"{part} has {last.threads} threads")
    return found


def fuzz(directory: Path, bundle: dict[str, str], count: int, seed: int, shared: Path | None) -> Figures:
    """A daemon, a PACS, and `count` mutated objects with a fifth as many conversations."""
    file = dx_file(directory / "a.dcm", 16, 16).read_bytes()
    to_pacs = {"outputs": ["sr", "sc"], "report_ignored": True}
    with (
        storescp(directory / "sink", "--ignore", "+xa") as pacs,
        Daemon(directory / "hilum", [sink("pacs", pacs.port, **to_pacs)],
               HILUM__STUDY__SETTLE_SECONDS="0.5", HILUM__DICOM__IDLE_TIMEOUT_SECONDS="30", **bundle) as daemon,
    ):  # fmt: skip
        return Fuzz(daemon, seed, count, seeds(shared), conversation(daemon.port, file)).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-fuzz-") as name:
        directory = Path(name)
        settings = as_settings(small_bundle(directory / "bundle"))
        figures = fuzz(directory, settings, arguments.count, arguments.seed, shared_path())
    print(f"{figures.objects} objects and {figures.conversations} conversations in {figures.seconds:.0f} s")
    print(f"answers: {dict(figures.answers)}\nstudies: {figures.states}")
    for part, last in figures.usage[-1].items():
        first = figures.usage[0].get(part, last)
        print(f"{part:10} {first.memory >> 20} -> {last.memory >> 20} MiB, {first.descriptors} -> {last.descriptors} "
              f"descriptors, {first.threads} -> {last.threads} threads")  # fmt: skip
    print(f"{len(figures.findings)} findings", *figures.findings[:50], sep="\n")
    return 1 if figures.findings else 0


if __name__ == "__main__":
    sys.exit(main())
