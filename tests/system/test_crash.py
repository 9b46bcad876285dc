"""SIGKILL at any moment: what was acknowledged is reported exactly once, and the trail has each step once."""

from pathlib import Path

import pytest

from storage.journal.transactions import FAULT_VERBS
from storage.spool import FAULT_POINTS
from tests.conftest import wait_for
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.system.chaos import Modality, chaos, compare, settle

POINTS = [*FAULT_POINTS, *(f"journal.{verb}:{when}-commit" for verb in FAULT_VERBS for when in ("before", "after"))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_every_durable_operation(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Killed at each point in turn, started again: no acknowledged study is lost, none is reported twice."""
    with FlakyPacs() as pacs, Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **untrained) as daemon:
        modality = Modality(tmp_path / "studies", daemon.port)
        waiting: list[Path] = []
        for point in POINTS:
            daemon.kill()
            daemon.start(kill_at=point)
            waiting += modality.make()
            waiting = [file for file in waiting if not modality.send(file)]
            wait_for(lambda: not daemon.alive, 90, f"the kill at {point}: {daemon.events}")
        daemon.start()
        assert all(modality.send(file) for file in waiting)
        assert len(set(modality.acknowledged)) == len(POINTS)
        assert settle(daemon, set(modality.acknowledged)) == 0, "a kill of the whole daemon was held against a study"
        compare(daemon, pacs, set(modality.acknowledged))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_chaos_for_a_short_while(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Senders, a PACS on its bad days and a killer at once: nothing is lost, nothing comes twice. More: make chaos."""
    figures = chaos(tmp_path, untrained, seconds=20, seed=7)
    assert figures["acknowledged"]
    assert figures["kills"]
