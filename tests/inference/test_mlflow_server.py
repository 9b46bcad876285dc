"""A team's MLflow: a real server with PostgreSQL and an S3 store; aliases, a new champion, a server that is away."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.main import app
from inference.bundle import Bundle, load_bundle
from inference.errors import BundleNotFound, DigestMismatch, EngineError, ImportRefused
from inference.registry.runs import recorded_runs
from inference.registry.watch import watch_once
from inference.training.tracking import MlflowTracker, fetch_registered, registered_models
from tests.conftest import ROOT
from tests.support.bundles import small_bundle
from tests.support.mlflow_server import MAKE_BUCKET, PINNED

pytest_plugins = ["tests.support.mlflow_server"]
pytestmark = pytest.mark.timeout(1200)  # the first test of all installs MLflow's server


def register(server: str, bundle: Bundle, model: str) -> None:
    """Record a run that gave this bundle, as `hilum train` does."""
    with MlflowTracker(uri=server, model=model) as tracker:
        tracker.parameters({"batch": 64})
        tracker.epoch(1, {"loss": 0.5})
        tracker.bundle(bundle)


def crown(server: str, model: str, version: int) -> None:
    import mlflow

    mlflow.MlflowClient(server).set_registered_model_alias(model, "champion", str(version))


def test_a_run_its_bundle_and_its_alias(mlflow_server: str, stored: Callable[[], str], tmp_path: Path) -> None:
    """A run is recorded in PostgreSQL, its bundle goes to S3 and comes back bit for bit, by version and by alias."""
    bundle = small_bundle(tmp_path / "bundle")
    register(mlflow_server, bundle, "chest")
    assert "/artifacts/bundle/models/model.safetensors</Key>" in stored()
    crown(mlflow_server, "chest", 1)
    (row,) = [r for r in registered_models(mlflow_server) if r["model"] == "models:/chest/1"]
    assert (row["digest"], row["aliases"]) == (bundle.digest, ["champion"])
    for name in ("models:/chest/1", "models:/chest@champion"):
        (tmp_path / name[-1]).mkdir()
        assert load_bundle(fetch_registered(name, tmp_path / name[-1], mlflow_server)).digest == bundle.digest
    given = {"MLFLOW_TRACKING_URI": mlflow_server}
    shown = CliRunner().invoke(app, ["model", "show", "models:/chest@champion", "--json"], env=given)
    assert json.loads(shown.stdout)[0]["digest"] == bundle.digest
    verified = CliRunner().invoke(app, ["model", "verify", "models:/chest@champion"], env=given)
    assert (verified.exit_code, verified.stdout.startswith(bundle.digest)) == (0, True), verified.output


def test_a_new_champion_is_noticed(mlflow_server: str, tmp_path: Path) -> None:
    """The champion is fetched once; another version that takes its place is fetched beside it, and both stay."""
    first, second = (small_bundle(tmp_path / f"bundle{seed}", seed=seed) for seed in (1, 2))
    folder = tmp_path / "models"
    for bundle in (first, second):
        register(mlflow_server, bundle, "watched")
    with pytest.raises(BundleNotFound, match="models:/watched@champion"):
        watch_once("models:/watched@champion", folder, mlflow_server)
    crown(mlflow_server, "watched", 1)
    found = watch_once("models:/watched@champion", folder, mlflow_server)
    assert (found.address, found.directory, found.digest, found.new) == (
        "models:/watched/1", folder / "watched-1", first.digest, True)  # fmt: skip
    assert not watch_once("models:/watched@champion", folder, mlflow_server).new
    crown(mlflow_server, "watched", 2)
    found = watch_once("models:/watched@champion", folder, mlflow_server)
    assert (found.address, load_bundle(found.directory).digest, found.new) == ("models:/watched/2", second.digest, True)
    assert sorted(p.name for p in folder.iterdir()) == ["watched-1", "watched-2"]
    (folder / "watched-2/configs/calibration.json").write_text('{"findings": {}}')
    with pytest.raises(DigestMismatch, match="remove it to fetch it again"):
        watch_once("models:/watched@champion", folder, mlflow_server)


def test_a_champion_that_cannot_be_trusted(mlflow_server: str, tmp_path: Path) -> None:
    """A version without a digest, and one whose bundle is another than its digest says, leave nothing behind."""
    import mlflow

    bundle, folder = small_bundle(tmp_path / "bundle"), tmp_path / "models"
    register(mlflow_server, bundle, "doubtful")
    crown(mlflow_server, "doubtful", 1)
    client = mlflow.MlflowClient(mlflow_server)
    client.set_model_version_tag("doubtful", "1", "digest", "sha256:" + "0" * 64)
    with pytest.raises(DigestMismatch, match="was registered with sha256:000"):
        watch_once("models:/doubtful@champion", folder, mlflow_server)
    client.delete_model_version_tag("doubtful", "1", "digest")
    with pytest.raises(ImportRefused, match="without a digest"):
        watch_once("models:/doubtful@champion", folder, mlflow_server)
    assert not folder.exists() or not list(folder.iterdir())
    with pytest.raises(BundleNotFound, match="models:/NAME@ALIAS"):
        watch_once("models:/doubtful/1", folder, mlflow_server)


def test_the_page_has_what_is_tested() -> None:
    """docs/mlflow.md names the versions that run here, and the line that makes the bucket."""
    page = " ".join((ROOT / "docs/mlflow.md").read_text().split())
    assert MAKE_BUCKET in page
    for pinned in PINNED:
        assert pinned in page or pinned.startswith("moto"), pinned


def test_runs_beside_each_other(mlflow_server: str, tmp_path: Path) -> None:
    """`hilum model runs` lists an experiment's runs; the page has what was set differently, and the last figures."""
    for batch, loss in (("<b>16</b>", 0.75), ("64", 0.25)):
        with MlflowTracker(experiment="beside", uri=mlflow_server) as tracker:
            tracker.parameters({"batch": batch, "seed": 7})
            tracker.epoch(1, {"loss": 2.0})
            tracker.epoch(2, {"loss": loss})
    given = {"MLFLOW_TRACKING_URI": mlflow_server}
    page = tmp_path / "runs.html"
    words = ["model", "runs", "--experiment", "beside", "--compare", str(page), "--json"]
    listed = json.loads(CliRunner().invoke(app, words, env=given).stdout)
    assert [(run["status"], run["parameters"]["batch"], run["metrics"]["loss"]) for run in listed] == [
        ("FINISHED", "64", 0.25), ("FINISHED", "<b>16</b>", 0.75)]  # fmt: skip
    text = page.read_text()
    assert "<tr><td>batch</td><td>64</td><td>&lt;b&gt;16&lt;/b&gt;</td></tr>" in text
    assert "<tr><td>loss</td><td>0.25</td><td>0.75</td></tr>" in text
    assert "seed" not in text
    absent = CliRunner().invoke(app, ["model", "runs", "--experiment", "nowhere"], env=given)
    assert (absent.exit_code, "no experiment 'nowhere'" in absent.stderr) == (1, True)


def test_a_server_that_is_away(tmp_path: Path) -> None:
    """A server that refuses connections is an error within seconds, wherever MLflow is asked, and is named."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        for action in (
            lambda: MlflowTracker(uri=address),
            lambda: registered_models(address),
            lambda: recorded_runs(uri=address),
            lambda: watch_once("models:/chest@champion", tmp_path, address),
        ):
            with pytest.raises(EngineError, match=f"{address} cannot be reached"):
                action()
        assert time.monotonic() - started < 10
