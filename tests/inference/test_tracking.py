"""A training run in MLflow: what is recorded, and finding the bundle again by models:/NAME/VERSION."""

import importlib.util
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from daemon.cli.main import app
from inference.bundle import Bundle, load_bundle
from inference.errors import BundleNotFound, DigestMismatch, EngineError
from inference.training.tracking import MlflowTracker, fetch_registered, registered_models
from inference.training.train import train
from tests.inference.test_train import SMALL, write_data


class PulledPlug(Exception):
    """Ends the first attempt."""


class Cut(MlflowTracker):
    """A tracker that interrupts the run after the second epoch."""

    def epoch(self, number: int, values: dict[str, float]) -> None:
        super().epoch(number, values)
        if number == 2:
            raise PulledPlug


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str]:
    """A bundle whose training was interrupted once, and the address of MLflow's store."""
    if importlib.util.find_spec("mlflow") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("MLflow is not installed")
    place = tmp_path_factory.mktemp("tracking")
    write_data(place / "data", 100)
    uri, note, here = f"sqlite:///{place / 'runs.db'}", place / "bundle.training/mlflow-run", Path.cwd()
    os.chdir(place)  # artifacts go to ./mlruns
    try:
        with pytest.raises(PulledPlug):
            train(place / "data", place / "bundle", SMALL, progress=False, threads=1, tracker=Cut(uri=uri, note=note))
        assert note.is_file()
        bundle = train(place / "data", place / "bundle", SMALL, progress=False, threads=1,
                       tracker=MlflowTracker(uri=uri, note=note))  # fmt: skip
    finally:
        os.chdir(here)
    return bundle, uri


def test_what_is_noted_down(run: tuple[Bundle, str]) -> None:
    """An interrupted run is one run, with parameters, each epoch's metrics once, the bundle and a model version."""
    import mlflow

    bundle, uri = run
    client = mlflow.MlflowClient(uri)
    (noted,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert noted.info.status == "FINISHED"
    assert noted.data.params["batch"] == str(SMALL.batch)
    assert noted.data.tags["digest"] == bundle.digest
    assert [m.step for m in client.get_metric_history(noted.info.run_id, "loss")] == list(range(1, SMALL.epochs + 1))
    run_id, params, metrics = noted.info.run_id, noted.data.params, noted.data.metrics
    assert [m.step for m in client.get_metric_history(run_id, "validation")] == list(range(1, SMALL.epochs + 1))
    assert {"auroc Effusion", "auroc Mass", "seconds"} <= set(metrics)
    assert params["data"].startswith("sha256:")
    assert params["device"] in ("cpu", "cuda")
    assert re.fullmatch(r"\d+ in training, \d+ held out", params["positives Effusion"])
    assert {a.path for a in client.list_artifacts(noted.info.run_id, "bundle")} >= {"bundle/configs", "bundle/models"}
    (version,) = client.search_model_versions("name='hilum'")
    assert (version.run_id, version.tags["digest"]) == (noted.info.run_id, bundle.digest)
    (row,) = registered_models(uri)
    del row["aliases"]
    assert row == {"model": "models:/hilum/1", "digest": bundle.digest, "run": noted.info.run_id}


def test_a_server_that_refuses_ends_the_command_within_seconds(tmp_path: Path) -> None:
    """Nobody listens: `hilum train` says so in a sentence with the way out, instead of trying again for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (tmp_path / "data").mkdir()
    began = time.monotonic()
    done = CliRunner().invoke(app, ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"),
                                    "--tracking-uri", f"http://127.0.0.1:{port}"])  # fmt: skip
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "cannot be reached" in done.stderr
    assert "--no-track" in done.stderr
    assert time.monotonic() - began < 10


def command(*words: str | Path, uri: str = "") -> Result:
    return CliRunner().invoke(app, ["model", *map(str, words)], env={"MLFLOW_TRACKING_URI": uri})


def test_commands(run: tuple[Bundle, str], tmp_path: Path) -> None:
    """show, list, verify and import take models:/NAME/VERSION; the environment or an option names the store."""
    bundle, uri = run
    (shown,) = json.loads(command("show", "models:/hilum/1", "--json", uri=uri).stdout)
    assert (shown["digest"], shown["directory"]) == (bundle.digest, "models:/hilum/1")
    (listed,) = json.loads(command("list", "models:/", "--json", "--tracking-uri", uri).stdout)
    assert listed["model"] == "models:/hilum/1"
    verified = command("verify", "models:/hilum/1", uri=uri)
    assert verified.exit_code == 0, verified.output
    assert verified.stdout.startswith(bundle.digest)
    assert command("verify", "models:/hilum/1", "--sha256", "0" * 64, uri=uri).exit_code == 1
    imported = command("import", "models:/hilum/1", tmp_path / "copy", uri=uri)
    assert imported.exit_code == 0, imported.output
    assert load_bundle(tmp_path / "copy").digest == bundle.digest


def test_an_alias(run: tuple[Bundle, str], tmp_path: Path) -> None:
    """models:/NAME@ALIAS is the version to which the registry's owner gave that alias."""
    import mlflow

    bundle, uri = run
    mlflow.MlflowClient(uri).set_registered_model_alias("hilum", "champion", "1")
    assert load_bundle(fetch_registered("models:/hilum@champion", tmp_path, uri)).digest == bundle.digest


@pytest.mark.parametrize("name", ["models:/hilum/9", "models:/other/1", "models:/hilum", "models:/hilum@nobody"])
def test_what_is_not_registered(run: tuple[Bundle, str], tmp_path: Path, name: str) -> None:
    """The error names a version, model or alias that the registry does not have, and an invalid address."""
    with pytest.raises(BundleNotFound, match=name):
        fetch_registered(name, tmp_path, run[1])


def test_an_artifact_that_was_changed(run: tuple[Bundle, str], tmp_path: Path) -> None:
    """A bundle that was changed in the store after it was registered is refused."""
    import mlflow

    source = Path(mlflow.MlflowClient(run[1]).get_model_version("hilum", "1").source.removeprefix("file://"))
    file = source / "configs/calibration.json"
    before = file.read_text()
    file.write_text(before + " ")
    try:
        with pytest.raises(DigestMismatch, match="was registered with"):
            fetch_registered("models:/hilum/1", tmp_path, run[1])
    finally:
        file.write_text(before)


def test_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MLflow, training and the commands say what to install."""
    found = importlib.util.find_spec

    def but_mlflow(name: str, package: str | None = None) -> Any:
        return None if name == "mlflow" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", but_mlflow)
    with pytest.raises(EngineError, match=r"pip install 'hilum\[train\]'"):
        MlflowTracker()
    for words in ("show models:/hilum/1", "list models:/", f"import models:/hilum/1 {tmp_path / 'x'}"):
        result = command(*words.split())
        assert (result.exit_code, "hilum[train]" in result.stderr) == (1, True)
