"""Training on generated pictures, in seconds: it learns, it resumes, and it is reproducible."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from daemon.cli.main import app
from inference.bundle import load_bundle
from inference.evaluation.data import read_table
from inference.networks import read_bundle_state
from inference.serving.classifier import Classifier
from inference.training.recipe import Recipe, balance
from inference.training.train import train
from tests.conftest import ROOT, wait_for
from tests.support.bundles import narrow_resnet

SMALL = Recipe(network=narrow_resnet(), initial="", size=32, source=32, stages=((16, 1), (32, 4)), batch=32,
               learning_rate=3e-3, averaging=0.997)  # fmt: skip


def write_data(directory: Path, count: int) -> None:
    """Write `count` pictures, two of each patient: an Effusion is bright below, a Mass is a bright block above."""
    rng = np.random.default_rng(0)
    (directory / "made").mkdir(parents=True)
    lines = ["file,patient_id,age,sex,view,follow_up,cohort,Effusion,Mass"]
    for i in range(count):
        effusion, mass = (int(v) for v in rng.random(2) < 0.45)
        picture = rng.normal(90, 10, (40, 40))
        picture[25:] += 60 * effusion
        picture[6:16, 8:18] += 80 * mass
        Pillow.fromarray(picture.clip(0, 255).astype(np.uint8)).save(directory / f"made/{i}.png")
        known = f"{i // 2},{20 + i % 60},{'FM'[i % 2]},{('PA', 'AP')[i // 3 % 2]},{i % 2}"
        lines.append(f"{i}.png,{known},made,{effusion},{mass}")
    (directory / "made.csv").write_text("\n".join(lines) + "\n")


def weights(directory: Path) -> dict[str, np.ndarray]:
    return {name: tensor.float().numpy() for name, tensor in read_bundle_state(load_bundle(directory)).items()}


def test_a_bundle_comes_out_that_has_learnt(tmp_path: Path) -> None:
    """Five short epochs give a bundle that loads, tells the findings of patients it never saw, and is calibrated."""
    write_data(tmp_path / "data", 160)
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1,
                   licence="CC BY 4.0")  # fmt: skip
    assert bundle.trained
    assert bundle.labels == ("Effusion", "Mass")
    assert bundle.metadata["training"]["history"][-1]["validation"] > 0.9
    assert set(bundle.calibration["findings"]) == {"Effusion", "Mass"}
    Classifier(bundle, "torch", threads=1).self_check()
    assert not (tmp_path / "bundle.training").exists()
    card, data = (tmp_path / "bundle/docs/README.md").read_text(), bundle.metadata["training"]["data"]
    assert "160 images of 80 patients" in card
    assert data["data"] in card
    for name in bundle.labels:
        trained, held = data["positives"][name]
        assert f"| {name} | {trained} | {held} | {bundle.calibration['findings'][name]['auroc'][0]:.3f} (" in card
    assert "| view | images |" in card
    assert "CC BY 4.0" in card
    assert (tmp_path / "bundle/LICENSE").read_text() == "CC BY 4.0\n"


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """After SIGKILL the same call resumes, and gives the weights of a run that was never killed."""
    write_data(tmp_path / "data", 160)
    code = ("import sys; from pathlib import Path; sys.path[:0] = ['.']; from tests.inference.test_train import SMALL;"
            "from inference.training.train import train;"
            "train(Path(sys.argv[1]), Path(sys.argv[2]), SMALL, progress=False, threads=1)")  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "data")]
    subprocess.run([*arguments, str(whole)], cwd=ROOT, check=True)
    victim = subprocess.Popen([*arguments, str(cut)], cwd=ROOT)
    checkpoint = tmp_path / "cut.training/checkpoint.pt"
    wait_for(lambda: checkpoint.exists() or victim.poll() is not None, 120, "a checkpoint")
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (cut / "configs").exists(), "the run ended before it was killed"
    subprocess.run([*arguments, str(cut)], cwd=ROOT, check=True)
    first, second = weights(whole), weights(cut)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    history = json.loads((cut / "configs/metadata.json").read_text())["training"]["history"]
    assert len(history) == SMALL.epochs


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    """With patience, the run ends before its last epoch once the score no longer improves."""
    write_data(tmp_path / "data", 160)
    recipe = replace(SMALL, stages=((32, 12),), patience=2)
    bundle = train(tmp_path / "data", tmp_path / "bundle", recipe, fold=0, folds=3, progress=False, threads=1)
    assert len(bundle.metadata["training"]["history"]) < 12


def test_a_cohort_says_nothing_about_pathology_once_weighted(tmp_path: Path) -> None:
    """With the weights, a cohort of the sick and one of the healthy have the same share of pathology."""
    rows = ["file,patient_id,cohort,Effusion,Mass"]
    rows += [f"a{i}.png,{i},sick,{int(i % 10 < 7)},0" for i in range(200)]
    rows += [f"b{i}.png,{i},healthy,{int(i % 10 < 3)},0" for i in range(200)]
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    table = read_table(tmp_path)
    w, y = balance(table, Recipe()), table.targets.max(axis=1)
    for cohort in ("sick", "healthy"):
        rows_ = table.cohorts == cohort
        assert np.average(y[rows_], weights=w[rows_]) == pytest.approx(0.5, abs=1e-5)


RECIPES = [
    ("x", "is not a recipe, which is JSON"),
    ("[1]", "expected an object"),
    ('{"stages": "x"}', 'stages is "x", expected pairs of pixels'),
    ('{"stages": [[32, 0]]}', "expected pairs of pixels"),
    ('{"batch": -1}', "batch is -1, expected a whole number"),
    ('{"batch": true}', "batch is true"),
    ('{"learning_rate": "fast"}', "expected a number above 0"),
    ('{"epochs": 5}', "no key 'epochs'"),
    ('{"patiense": 5}', "did you mean patience"),
    ('{"network": "DenseNet121"}', "expected a network such as"),
    ('{"cohort_weights": {"a": 1}}', "pairs of a cohort"),
    ('{"probe": {"strength": 1}}', "an object with network"),
    ('{"calls": {"ppv": "high"}}', "numbers for some of"),
    ('{"network": {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 1}}', '"initial": ""'),
    ('{"network": {"_target_": "NoSuchNet"}, "initial": ""}', "NoSuchNet"),
    ('{"network": {"_target_": "ResNet", "widths": 2}, "initial": ""}', "network_def: ResNet"),
]


@pytest.mark.parametrize(("recipe", "message"), RECIPES)
def test_a_faulty_recipe_is_one_sentence(recipe: str, message: str, tmp_path: Path) -> None:
    """Each fault of a recipe ends `hilum train` with status 1 and one sentence that names it, without a traceback."""
    write_data(tmp_path / "data", 60)
    (tmp_path / "recipe.json").write_text(recipe)
    words = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--no-track",
             "--recipe", str(tmp_path / "recipe.json")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert message in " ".join(done.stderr.split())


def test_rare_findings_and_masked_labels(tmp_path: Path) -> None:
    """A finding without enough positives is left out by name; labels that are blank or -1 do not stop the others."""
    write_data(tmp_path / "data", 160)
    manifest, said = tmp_path / "data/made.csv", list[str]()
    head, *lines = manifest.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for i, row in enumerate(cells):
        row[-1 - i % 2] = ("", "-1")[i // 2 % 2] if i % 5 == 0 else row[-1 - i % 2]
    manifest.write_text(
        "\n".join([head + ",Hernia", *(",".join(row) + f",{int(i < 12)}" for i, row in enumerate(cells))])
    )
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1,
                   remark=said.append)  # fmt: skip
    assert bundle.labels == ("Effusion", "Mass")
    assert "Hernia (8 in training, 4 held out)" in said[0]
    assert bundle.metadata["training"]["history"][-1]["validation"] > 0.9
    json.loads((bundle.directory / "configs/metadata.json").read_text(), parse_constant=pytest.fail)


def test_a_full_directory_is_not_overwritten(tmp_path: Path) -> None:
    """A directory that holds something else is refused before the training starts."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not a bundle"):
        train(tmp_path, tmp_path / "bundle", SMALL)
