"""MONAI's own tools run our bundles: `monai.bundle run`, `verify_net_in_out`, `verify_metadata`, `ckpt_export`."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image
from safetensors.torch import load_file

from inference import golden, workflow
from inference.bundle import DEFAULT, PACKAGED, Bundle, load_bundle
from inference.errors import DataError, WeightsMismatch
from inference.networks import build_network
from inference.probability import sigmoid
from inference.serving.classifier import Classifier
from inference.workflow import ids, parts
from tests.conftest import ROOT
from tests.support.bundles import small_bundle

SHIPPED = ("default", "phantom")
SCHEMA = Path(workflow.__file__).with_name("metadata_schema.json")


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """What MONAI's command line needs beside MONAI; the extra `monai` installs it."""
    absent = [name for name in ("fire", "ignite", "jsonschema") if importlib.util.find_spec(name) is None]
    if absent:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"not installed: {', '.join(absent)}")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with the golden picture, a wider one of 16 bits, a colour JPEG, and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    drawn = golden.draw_picture()
    Image.fromarray(drawn).save(folder / "a.png")
    Image.fromarray(np.asarray(golden.draw_picture(90, 200), np.uint16) * 200).save(folder / "b.png")
    Image.fromarray(np.stack([drawn, drawn // 2, drawn], 2)).save(folder / "c.JPG")
    (folder / "notes.txt").write_text("no picture")
    return folder


def files_of(directory: Path) -> dict[str, str]:
    return {f"{name}_file": str(directory / f"configs/{file}.json")
            for name, file in (("meta", "metadata"), ("config", "inference"))}  # fmt: skip


def predicted(table: Path) -> dict[str, list[float]]:
    """The rows of predictions.csv by the name of the file."""
    with table.open() as rows:
        return {Path(row[0]).name: [float(value) for value in row[1:]] for row in csv.reader(rows) if row}


def ours(bundle: Bundle, pictures: Path) -> dict[str, list[float]]:
    """What hilum's own engine gives for the same files, before calibration."""
    classifier = Classifier(bundle, "torch", "cpu")
    answers = {}
    for item in parts.pictures_in(str(pictures)):
        image = parts.display_values(Path(item["image"]).read_bytes(), "picture")
        batch = parts.preprocess(classifier.transform, image)[None]
        answers[Path(item["image"]).name] = [float(p) for p in sigmoid(classifier.run(batch).logits[0])]
    return answers


@pytest.mark.parametrize("run_id", [["run"], []], ids=["by its id", "by default"])
def test_the_command_line_predicts_a_folder(run_id: list[str], pictures: Path, tmp_path: Path) -> None:
    """`python -m monai.bundle run` on the default bundle writes hilum's own numbers, and nothing into the bundle."""
    files = [word for name, file in files_of(DEFAULT).items() for word in (f"--{name}", file)]
    command = [sys.executable, "-m", "monai.bundle", "run", *run_id, *files, "--bundle_root", str(DEFAULT)]
    done = subprocess.run([*command, "--dataset_dir", str(pictures)], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": f"{ROOT}:{':'.join(sys.path)}", "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    table, expected = predicted(tmp_path / "eval/predictions.csv"), ours(load_bundle(DEFAULT), pictures)
    assert list(table) == list(expected) == ["a.png", "b.png", "c.JPG"]
    np.testing.assert_allclose(list(table.values()), list(expected.values()), atol=1e-5)
    probabilities = json.loads((DEFAULT / "golden/expected.json").read_text())["probabilities"]
    np.testing.assert_allclose(table["a.png"], list(probabilities.values()), atol=1e-4)


@pytest.mark.parametrize("name", SHIPPED)
def test_verify_net_in_out(name: str) -> None:
    """The shipped networks take and give what metadata.json says; MONAI's tool finds a description that is wrong."""
    monai.bundle.verify_net_in_out("network_def", device="cpu", **files_of(PACKAGED / name))
    wrong: dict[str, Any] = {"_meta_#network_data_format#outputs#pred#num_channels": 3}
    with pytest.raises(ValueError, match="output channel number"):
        monai.bundle.verify_net_in_out("network_def", device="cpu", **files_of(PACKAGED / name), **wrong)


@pytest.mark.parametrize("name", SHIPPED)
def test_verify_metadata(name: str, tmp_path: Path) -> None:
    """The shipped metadata fits MONAI's schema, without a download; MONAI's tool finds a key that is missing."""
    file = PACKAGED / name / "configs/metadata.json"
    monai.bundle.verify_metadata(str(file), filepath=SCHEMA)
    metadata = json.loads(file.read_text())
    del metadata["network_data_format"]["outputs"]["pred"]["num_channels"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="Failed validating"):
        monai.bundle.verify_metadata(str(tmp_path / "metadata.json"), filepath=SCHEMA)


@pytest.mark.parametrize("name", SHIPPED)
def test_ckpt_export(name: str, tmp_path: Path) -> None:
    """`ckpt_export` makes a TorchScript file that gives the network's own logits, once the weights are a .pt file."""
    bundle = load_bundle(PACKAGED / name)
    torch.save(load_file(bundle.weights), tmp_path / "model.pt")
    exported = tmp_path / "model.ts"
    monai.bundle.ckpt_export("network_def", filepath=str(exported), ckpt_file=str(tmp_path / "model.pt"),
                             use_trace=True, **files_of(bundle.directory))  # fmt: skip
    batch = torch.rand(2, 1, *bundle.input_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.load(exported)(batch), build_network(bundle)(batch))


def test_a_new_bundle_has_the_ids(pictures: Path, tmp_path: Path) -> None:
    """What writes bundles gives each the ids of MONAI's specification, and `run` the numbers of hilum's engine."""
    bundle = small_bundle(tmp_path / "bundle")
    here = {"bundle_root": str(bundle.directory), "dataset_dir": str(pictures), "output_dir": str(tmp_path / "out")}
    work = ConfigWorkflow(**files_of(bundle.directory), workflow_type="infer", logging_file=False, **here)
    work.initialize()
    assert work.check_properties() == []
    monai.bundle.run(**files_of(bundle.directory), **here)
    table = predicted(tmp_path / "out/predictions.csv")
    np.testing.assert_allclose(list(table.values()), list(ours(bundle, pictures).values()), atol=1e-5)
    assert load_bundle(bundle.directory).digest == bundle.digest


@pytest.mark.parametrize(
    ("hilum", "steps"),
    [({}, [{"sigmoid": True}]), ({"output": "softmax"}, [{"softmax": True}]), ({"output": "probabilities"}, [])],
)
def test_what_makes_probabilities(hilum: dict[str, str], steps: list[dict[str, bool]]) -> None:
    """Logits go through a sigmoid, or a softmax where outputs exclude each other; probabilities stay as they are."""
    found = ids.workflow({"hilum": hilum})["postprocessing"]["transforms"]
    assert [{k: v for k, v in step.items() if k not in ("_target_", "keys")} for step in found] == steps


def test_faults_are_named(pictures: Path, tmp_path: Path) -> None:
    """A folder without pictures, a damaged picture and weights of another network are named."""
    with pytest.raises(DataError, match="--dataset_dir"):
        parts.pictures_in(str(tmp_path / "nowhere"))
    (pictures / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        parts.Pictures(parts.pictures_in(str(pictures)), lambda image: image)[0]
    weights = str(PACKAGED / "phantom/models/model.safetensors")
    with pytest.raises(WeightsMismatch, match=r"model\.safetensors does not fit"):
        parts.with_weights(torch.nn.Linear(2, 2), weights, torch.device("cpu"))
