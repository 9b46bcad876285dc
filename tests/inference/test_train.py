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
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1)
    assert bundle.trained
    assert bundle.labels == ("Effusion", "Mass")
    assert bundle.metadata["training"]["history"][-1]["validation"] > 0.9
    assert set(bundle.calibration["findings"]) == {"Effusion", "Mass"}
    Classifier(bundle, "torch", threads=1).self_check()
    assert not (tmp_path / "bundle.training").exists()


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


def test_a_full_directory_is_not_overwritten(tmp_path: Path) -> None:
    """A directory that holds something else is refused before the training starts."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not a bundle"):
        train(tmp_path, tmp_path / "bundle", SMALL)
