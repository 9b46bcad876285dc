"""Several models in one daemon: each study gets what it should, and the journal says which model said what."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from inference.bundle import PACKAGED, load_bundle
from tests.conftest import ROOT, wait_for
from tests.support.bundles import as_settings, sure_bundle
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file
from tests.system.chaos import Modality

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
POINTS = [f"journal.{verb}:{when}-commit" for verb in ("waiting_trials", "tried") for when in ("before", "after")]


def table(name: str, bundle: Any, **more: Any) -> dict[str, Any]:
    keys = {key.rpartition("__")[2].lower(): value for key, value in as_settings(bundle).items()}
    return {"name": name, **keys, **more}


@pytest.fixture
def models(tmp_path: Path) -> list[dict[str, Any]]:
    """A model of chests that sees an effusion everywhere, its successor that sees a mass, and one for drawings, PA."""
    return [
        table("chest", sure_bundle(tmp_path / "a", Effusion=20.0), destinations=["pacs"], views=["AP"]),
        table("next", sure_bundle(tmp_path / "b", Mass=20.0), shadow=True, views=["AP"]),
        table("drawings", load_bundle(PACKAGED / "phantom"), destinations=["research"], views=["PA"]),
    ]


def test_each_study_gets_what_it_should(tmp_path: Path, models: list[dict[str, Any]]) -> None:
    """By view a study goes to one model or the other, and to one destination or the other; the model on trial is
    compared, and nothing of what it says is ever sent: neither before nor after it was killed at each of its steps."""
    with FlakyPacs() as pacs, FlakyPacs() as research, Daemon(
        tmp_path / "hilum", [sink("pacs", pacs.port), sink("research", research.port)], HILUM__MODEL=json.dumps(models)
    ) as daemon:  # fmt: skip
        modality = Modality(tmp_path / "m", daemon.port)
        for view, there, elsewhere in (("AP", pacs, research), ("PA", research, pacs)):
            before = len(there.taken), len(elsewhere.taken)
            assert modality.send(chest(tmp_path, view))
            uid = modality.acknowledged[-1]
            wait_for(lambda u=uid: settled(daemon, u), 120, f"the analyses of the {view} study")  # type: ignore[misc]
            wait_for(lambda: set(daemon.states()) == {"DELIVERED"}, 60, "the delivery")
            assert (len(there.taken), len(elsewhere.taken)) == (before[0] + 1, before[1])
        ap, pa = modality.acknowledged
        assert said(daemon, ap) == {"chest": ["Effusion"], "next": ["Mass"], "drawings": []}
        assert set(said(daemon, pa)) == {"chest", "drawings"}
        told = len(pacs.taken)
        waiting: list[Path] = []
        for point in POINTS:
            daemon.kill()
            daemon.start(kill_at=point)
            waiting = [file for file in [*waiting, chest(tmp_path, "AP")] if not modality.send(file)]
            wait_for(lambda: not daemon.alive, 90, f"the kill at {point}: {daemon.events}")
        daemon.start()
        assert all(modality.send(file) for file in waiting)
        for uid in modality.acknowledged:
            wait_for(lambda u=uid: settled(daemon, u), 120, f"the analyses: {daemon.states()}")  # type: ignore[misc]
        wait_for(lambda: daemon.states() == {"DELIVERED": 2 + len(POINTS)}, 60, "the deliveries")
        assert len(pacs.reports()) == told + len(POINTS), "something that the model on trial said was sent"
        compared = daemon.hilum("compare", "chest", "next", "--json")
        figures = {row["finding"]: (row["images"], row["gained"], row["lost"]) for row in compared}
        assert figures["Mass"] == (1 + len(POINTS), 1 + len(POINTS), 0)
        assert figures["Effusion"] == (1 + len(POINTS), 0, 1 + len(POINTS))


def test_a_promotion_killed_at_each_step(tmp_path: Path, models: list[dict[str, Any]]) -> None:
    """Killed before its commit it did not happen, killed after it it did; each study's results are of the model that
    was in use, in its destination, and the undoing is one command."""
    with FlakyPacs() as pacs, FlakyPacs() as research, Daemon(
        tmp_path / "hilum", [sink("pacs", pacs.port), sink("research", research.port)], HILUM__MODEL=json.dumps(models)
    ) as daemon:  # fmt: skip
        modality = Modality(tmp_path / "m", daemon.port)
        for step, in_use in (("before", "chest"), ("after", "next"), ("roll back", "chest")):
            if step == "roll back":
                assert "chest is in use, next is on trial" in daemon.hilum("model", "rollback")
            else:
                promote_and_die(daemon, step)
            assert modality.send(chest(tmp_path, "AP"))
            uid = modality.acknowledged[-1]
            wait_for(lambda u=uid: settled(daemon, u), 120, f"the analyses after {step}")  # type: ignore[misc]
            with daemon.store() as store:
                spoken = [a["model"] for a in store.queries.analyses(uid) if not a["shadow"]]
                (study,) = store.queries.studies(study_instance_uid=uid)
            assert spoken == [in_use, "drawings"]
            assert {f["finding"] for f in study["findings"] if f["call"] == "above"} == {FINDING[in_use]}
        wait_for(lambda: daemon.states() == {"DELIVERED": 3}, 60, "the deliveries")
        assert (len(pacs.taken), len(research.taken)) == (3, 0)
        events = [e["event"] for e in daemon.hilum("audit", "events", "--json") if e["event"].startswith("MODEL")]
        assert events == ["MODEL_PROMOTED", "MODEL_ROLLED_BACK"]
        assert "as it was written" in daemon.hilum("audit", "verify")


FINDING = {"chest": "Effusion", "next": "Mass"}
PROMOTE = """
import os, signal, sys
from pathlib import Path
from daemon.runtime.clock import now
from storage.store import open_store
def fault(point):
    if point == f"journal.promote:{sys.argv[2]}-commit":
        os.kill(os.getpid(), signal.SIGKILL)
open_store("", Path(sys.argv[1]), fault).journal.promote("next", "chest", now())
"""


def promote_and_die(daemon: Daemon, step: str) -> None:
    """Promote in a process that is killed before or after the commit."""
    done = subprocess.run([sys.executable, "-c", PROMOTE, str(daemon.directory), step], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def chest(directory: Path, view: str) -> Path:
    return dx_file(directory / f"{uuid4()}.dcm", 64, 64, BodyPartExamined="CHEST", ViewPosition=view)


def settled(daemon: Daemon, uid: str) -> bool:
    """Whether every model that sees a study has seen it."""
    with daemon.store() as store:
        found = [a["state"] for a in store.queries.analyses(uid) if a["current"]]
    return bool(found) and set(found) == {"DONE"}


def said(daemon: Daemon, uid: str) -> dict[str, list[str]]:
    """What each model found above its threshold."""
    with daemon.store() as store:
        rows = store.queries.analyses(uid)
    return {row["model"]: [f["finding"] for f in row["findings"] if f["call"] == "above"] for row in rows}
