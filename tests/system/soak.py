"""Thousands of associations, each with one small object: memory, descriptors and threads of every part stay flat.

`python -m tests.system.soak --count 5000`
"""

import argparse
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from tests.conftest import wait_for
from tests.support.bundles import as_settings, small_bundle
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, Usage, sink
from tests.support.peers import dx_file
from tests.system.chaos import Modality, working
from tests.system.fuzz import grown

SENDERS = 2
SAMPLES = 20
STUDY = 10  # objects of a study


def soak(directory: Path, bundle: dict[str, str], count: int) -> list[dict[str, Usage]]:
    """What each part takes after each of `SAMPLES` equal shares of `count` associations. Nothing may be lost."""
    with FlakyPacs() as pacs, Daemon(directory / "hilum", [sink("pacs", pacs.port)], **bundle,
                                     HILUM__STUDY__SETTLE_SECONDS="0.5") as daemon:  # fmt: skip
        modalities = [Modality(directory / f"m{n}", daemon.port, f"MODALITY{n}") for n in range(SENDERS)]
        usage: list[dict[str, Usage]] = []
        with daemon.journal() as journal:
            for _ in range(SAMPLES):
                with working(*[partial(_send, m, count // SAMPLES // SENDERS) for m in modalities]):
                    pass
                wait_for(lambda: not journal.counts()["RECEIVED"] and not journal.counts()["ANALYSED"], 300, "the line")
                usage.append(daemon.usage())
        studies = {study for m in modalities for study in m.acknowledged}
        assert daemon.states() == {"DELIVERED": len(studies)}
        assert daemon.faults() == []
    return usage


def _send(modality: Modality, number: int, _stop: threading.Event) -> None:
    studies = [generate_uid() for _ in range(-(-number // STUDY))]
    for n in range(number):
        study = studies[n // STUDY]
        file = dx_file(modality.directory / "a.dcm", 64, 64, BodyPartExamined="CHEST", StudyInstanceUID=study)
        assert modality.send(file)


def slope(usage: list[dict[str, Usage]], part: str, count: int, warm_up: float = 0.4) -> float:
    """Growth of a part's memory after the warm-up, in MiB for 1000 associations: a least-squares line."""
    warm = [u[part].memory / 2**20 for u in usage[int(len(usage) * warm_up) :]]
    return float(np.polyfit(np.arange(len(warm)) * count / len(usage) / 1000, warm, 1)[0])


def table(usage: list[dict[str, Usage]], count: int) -> str:
    """Five moments of the run, a line for each part."""
    moments = [usage[(len(usage) - 1) * n // 4] for n in range(5)]
    lines = ["part       MiB (PSS) at 0, 25, 50, 75, 100 %        MiB/1000  descriptors  threads"]
    for part in usage[-1]:
        memory = " ".join(f"{m[part].memory / 2**20:7.1f}" for m in moments)
        first, last = usage[0][part], usage[-1][part]
        lines.append(f"{part:10} {memory}  {slope(usage, part, count):+8.2f}  {first.descriptors:3} -> "
                     f"{last.descriptors:3}   {first.threads:2} -> {last.threads:2}")  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory(prefix="hilum-soak-") as name:
        settings = as_settings(small_bundle(Path(name) / "bundle"))
        usage = soak(Path(name), settings, count)
    print(table(usage, count), *grown(usage), sep="\n")
    return 1 if grown(usage) else 0


if __name__ == "__main__":
    sys.exit(main())
