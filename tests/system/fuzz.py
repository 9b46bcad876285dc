"""Mutated inputs of every kind against the real daemon: objects by C-STORE, conversations, TLS, HTTP, commitment.

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
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import shared_path, wait_for
from tests.support.bundles import as_settings, small_bundle
from tests.support.harness import Usage
from tests.support.mutations import Seed, mutated, mutated_conversation, seeds
from tests.system.chaos import working
from tests.system.fuzzing.commitment import KIND as COMMITMENT
from tests.system.fuzzing.commitment import CommitmentFuzz
from tests.system.fuzzing.figures import Figures
from tests.system.fuzzing.http import KIND as HTTP
from tests.system.fuzzing.http import HttpFuzz
from tests.system.fuzzing.sockets import half_close
from tests.system.fuzzing.tls import KIND as TLS
from tests.system.fuzzing.tls import TlsFuzz
from tests.system.fuzzing.world import World, world

SENDERS = 2
LANES = 3  # threads for each other kind of input: they wait most of the time
BATCH = 500
STUDY = 10  # images of a study
SHARE = 5  # one input of each other kind for so many objects
OBJECTS, CONVERSATIONS = "objects", "conversations"
GROWTH = 1.25  # of memory from the end of the warm-up to the end; the parts run for minutes only
SEVERAL_PATIENTS = "the images are of "  # the reason where a mutation changed the Patient ID of some images of a study
SLACK = 40_000_000  # bytes: an allocator's caprices, beside a leak of one object for each input


class Fuzz:
    """One run: the inputs come from `seed` and go to the daemons of `world`."""

    def __init__(self, world: World, seed: int, count: int, corpus: list[Seed]):
        self.daemon, self.over_tls, self.corpus, self.seed, self.count = world.plain, world.tls, corpus, seed, count
        self.pdus = world.pdus
        self.figures = Figures()
        self.acknowledged: set[str] = set()
        self.tls = TlsFuzz(world.tls, world.client, self.pdus, self.figures)
        self.http = HttpFuzz(world.http, self.figures)
        self.commitment = CommitmentFuzz(self.daemon, self.figures)
        self.others: dict[str, Callable[[random.Random], None]] = {
            CONVERSATIONS: self._converse, TLS: self.tls, HTTP: self.http, COMMITMENT: self.commitment
        }  # fmt: skip

    def run(self) -> Figures:
        self.http.await_start()
        began = time.monotonic()
        for first in range(0, self.count, BATCH):
            numbers = range(first, min(first + BATCH, self.count))
            jobs = [partial(self._send, numbers[n::SENDERS]) for n in range(SENDERS)]
            lanes = [numbers[::SHARE][n::LANES] for n in range(LANES)]
            jobs += [partial(self._others, kind, lane) for kind in self.others for lane in lanes]
            with working(*jobs):
                pass
            self._calm()
            self.figures.usage.append(self.usage())
        self.commitment.look()
        with self.daemon.journal() as journal:
            wait_for(lambda: not any(state == "PENDING" for _, state in journal.delivery_counts()), 300, "the PACS")
        self._look()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def usage(self) -> dict[str, Usage]:
        """What each part of both daemons takes now."""
        return {**self.daemon.usage(), **{f"tls {part}": usage for part, usage in self.over_tls.usage().items()}}

    def _others(self, kind: str, numbers: range, _stop: object) -> None:
        """The inputs of one kind that go with these objects."""
        for number in numbers:
            self.others[kind](random.Random(f"{self.seed} {kind} {number}"))

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
            self.figures.note(OBJECTS, "none" if sent.status is None else f"{sent.status:04X}")
            if sent.status is None:
                self.figures.findings.append(f"object {number}: no answer, {sent.comment}")
            if sent.status == 0x0000:
                self.acknowledged.add(made.study_instance_uid)
        sender.close()

    def _converse(self, chance: random.Random) -> None:
        """Says all of it at once and reads until the daemon closes, or for a while where it waits for more."""
        heard = b""
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.daemon.port), 5) as peer:
            try:
                peer.sendall(mutated_conversation(self.pdus, chance))
                half_close(peer)
                peer.settimeout(10)
                while more := peer.recv(65536):
                    heard += more
            except TimeoutError:
                self.figures.findings.append("a connection whose peer closed was kept open")
        self.figures.note(CONVERSATIONS, f"PDU {heard[0]}" if heard else "closed")

    def _calm(self) -> None:
        """All that was taken in has been worked on, and both daemons answer, on every port."""
        sender = Sender("FUZZ", Destination("HILUM", "127.0.0.1", self.daemon.port), timeout_seconds=30)
        if sender.echo().status != 0:
            self.figures.findings.append("C-ECHO was not answered")
        sender.close()
        self.tls.look()
        self.http.look()
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
        said = self.daemon.faults() + self.over_tls.faults()
        found += [f"the daemon said {line}" for line in said if SEVERAL_PATIENTS not in str(line)]
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
    """Two daemons, a PACS, and `count` mutated objects with a fifth as many inputs of each other kind."""
    with world(directory, bundle) as found:
        return Fuzz(found, seed, count, seeds(shared)).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-fuzz-") as name:
        directory = Path(name)
        settings = as_settings(small_bundle(directory / "bundle"))
        figures = fuzz(directory, settings, arguments.count, arguments.seed, shared_path())
    print(*figures.lines(), sep="\n")
    return 1 if figures.findings else 0


if __name__ == "__main__":
    sys.exit(main())
