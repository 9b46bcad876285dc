"""Bundles: the layout, the digest, and what a bundle may not contain."""

import importlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.allowed import ALLOWED, vet
from inference.bundle import DEFAULT, Bundle, digest, load_bundle
from inference.efficientnet_lite import EarlyLayers, EfficientNetLite
from inference.ensemble import Ensemble
from inference.errors import (
    BundleError,
    BundleForbidden,
    BundleNotFound,
    DigestMismatch,
    ImportRefused,
    WeightsMismatch,
)
from inference.files.onnx_wire import names_other_files
from inference.importing.importer import import_model
from inference.networks import build_network
from inference.preprocess import CentreSquare
from inference.workflow import parts
from tests.support.bundles import LABELS, small_bundle
from tests.support.onnx_writer import SIGMOID, field, write_classifier


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture
def copy(made: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(made.directory, tmp_path / "copy")
    return tmp_path / "copy"


def change(directory: Path, file: str, **changes: Any) -> None:
    path = directory / "configs" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_metadata_is_read(made: Bundle) -> None:
    """A bundle states name, labels, input size, digest, and that its weights are untrained."""
    assert (made.labels, made.input_size, made.trained, made.pinned) == (LABELS, (64, 64), False, False)
    assert made.digest.startswith("sha256:")
    assert len(made.digest) == 71


def test_same_seed_gives_the_same_digest(made: Bundle, tmp_path: Path) -> None:
    """An untrained bundle can be made again, byte for byte."""
    assert small_bundle(tmp_path / "again").digest == made.digest


@pytest.mark.parametrize("file", ["configs/metadata.json", "models/model.safetensors", "golden/expected.json"])
def test_digest_changes_with_every_file_that_counts(made: Bundle, copy: Path, file: str) -> None:
    """An additional byte in any file on which the answer depends changes the digest."""
    with (copy / file).open("ab") as handle:
        handle.write(b" ")
    assert digest(copy) != made.digest


def test_digest_leaves_the_model_card_out_and_the_place(made: Bundle, copy: Path) -> None:
    """Neither a better model card nor another directory changes the digest."""
    (copy / "docs/README.md").write_text("a better card")
    assert digest(copy) == made.digest


def test_digest_tells_names_from_content(copy: Path) -> None:
    """Renaming a file changes the digest."""
    (copy / "a").write_text("xy")
    first = digest(copy)
    (copy / "a").rename(copy / "b")
    assert digest(copy) != first


def test_link_is_refused(copy: Path) -> None:
    """A link is refused, because it could point to content that the digest does not cover."""
    (copy / "models/link").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="link"):
        load_bundle(copy)


def test_pinned_digest(made: Bundle, copy: Path) -> None:
    """With its digest pinned a bundle loads as pinned; after a change it does not load."""
    assert load_bundle(copy, made.digest).pinned
    change(copy, "metadata.json", version="2")
    with pytest.raises(DigestMismatch, match="is pinned"):
        load_bundle(copy, made.digest)


EVIL = [
    {"_target_": "os.system", "command": "true"},
    {"_target_": "monai.transforms.Lambda", "func": "$print"},
    {"_target_": "monai.transforms.Compose", "transforms": ["$__import__('os').system('true')"]},
    {"_target_": "monai.transforms.Resize", "spatial_size": "%/etc/passwd"},
    {"_target_": "monai.transforms.Resize", "spatial_size": {"_target_": "subprocess.run"}},
    {"_target_": "monai.transforms.Resize", "_mode_": "debug"},
    {"_target_": "@network_def"},
    {"_target_": "monai.networks.nets.DenseNet121", "pretrained": True},
]


@pytest.mark.parametrize("config", EVIL)
def test_configuration_may_not_run_code(copy: Path, config: dict[str, Any]) -> None:
    """Expressions, macros, modes, downloads and classes off the list are refused before anything is instantiated."""
    change(copy, "inference.json", preprocessing=config)
    with pytest.raises(BundleForbidden):
        load_bundle(copy)


def test_administrator_may_pin_an_expression(copy: Path) -> None:
    """A bundle that would otherwise be refused runs once its digest is pinned."""
    change(copy, "inference.json", size="$32 * 2")
    assert load_bundle(copy, digest(copy)).inference["size"] == "$32 * 2"


def test_every_allowed_name_exists() -> None:
    """Every class on the list exists, and a short name stands for the full one."""
    for full in set(ALLOWED.values()):
        module, _, name = full.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    assert vet({"_target_": "Resize"}, "x") == {"_target_": "monai.transforms.Resize"}


def targets(config: Any) -> Iterator[str]:
    """Every class that a MONAI configuration names."""
    if isinstance(config, dict):
        yield from (value for key, value in config.items() if key == "_target_")
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        yield from targets(value)


#: Bundles of every site name these classes, so neither the modules nor the classes can be moved or renamed.
FIXED = {
    "inference.efficientnet_lite.EarlyLayers": EarlyLayers,
    "inference.efficientnet_lite.EfficientNetLite": EfficientNetLite,
    "inference.ensemble.Ensemble": Ensemble,
    "inference.preprocess.CentreSquare": CentreSquare,
    "inference.workflow.parts.Mirrored": parts.Mirrored,
    "inference.workflow.parts.Pictures": parts.Pictures,
    "inference.workflow.parts.pictures_in": parts.pictures_in,
    "inference.workflow.parts.with_weights": parts.with_weights,
}


def test_the_packaged_bundle_names_classes_where_they_are() -> None:
    """Each class in the packaged bundle's configuration can be imported from exactly the path written there."""
    named = set(targets(json.loads((DEFAULT / "configs/inference.json").read_text())))
    assert "inference.ensemble.Ensemble" in named
    assert {name for name in named if name.startswith("inference.")} <= set(FIXED)
    for path in named | set(FIXED):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), path


def test_classes_that_bundles_name_are_defined_there() -> None:
    """Our own classes are defined in the modules that bundles name, not handed on from elsewhere."""
    assert {f"{kind.__module__}.{kind.__qualname__}": kind for kind in FIXED.values()} == FIXED


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/hilum-pickle-ran",)


def test_pickle_is_not_run(copy: Path) -> None:
    """A model.pt with more than tensors is refused, and its code does not run."""
    (copy / "models/model.safetensors").unlink()
    torch.save({"a": Evil()}, copy / "models/model.pt")
    with pytest.raises(BundleForbidden, match="weights_only"):
        build_network(load_bundle(copy))
    assert not Path("/tmp/hilum-pickle-ran").exists()


def test_plain_state_dict_loads_as_pt(made: Bundle, copy: Path) -> None:
    """model.pt with tensors only gives the same network as model.safetensors."""
    state = build_network(made).state_dict()
    (copy / "models/model.safetensors").unlink()
    torch.save({"state_dict": state}, copy / "models/model.pt")
    loaded = build_network(load_bundle(copy)).state_dict()
    assert all(torch.equal(state[name], loaded[name]) for name in state)


def test_weights_of_another_network(copy: Path) -> None:
    """Weights of another network are refused, and the error names a tensor that does not fit."""
    config = json.loads((copy / "configs/inference.json").read_text())["network_def"]
    change(copy, "inference.json", network_def=config | {"out_channels": 4})
    with pytest.raises(WeightsMismatch, match=r"class_layers\.out"):
        build_network(load_bundle(copy))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hilum": None}, "hilum"),
        ({"hilum": {"labels": ["A"], "trained": True}}, "input_size"),
        ({"hilum": {"labels": ["A"], "outputs": ["B"], "trained": True, "input_size": [8, 8]}}, "among outputs"),
        ({"hilum": {"labels": ["A"], "trained": True, "input_size": [8, 8], "test_time": ["x"]}}, "test_time"),
    ],
)
def test_bad_metadata_is_explained(copy: Path, changes: dict[str, Any], message: str) -> None:
    """The error about invalid metadata names the key."""
    change(copy, "metadata.json", **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


def test_no_bundle(tmp_path: Path) -> None:
    """An empty directory is refused as a bundle."""
    with pytest.raises(BundleNotFound):
        load_bundle(tmp_path)


def pipe_in(directory: Path) -> None:
    os.mkfifo(directory / "models/pipe")


def link_in(directory: Path) -> None:
    (directory / "docs").mkdir(exist_ok=True)
    (directory / "docs/secret").symlink_to("/etc/passwd")


def huge_table(directory: Path) -> None:
    (directory / "models/model.safetensors").write_bytes((50_000_000).to_bytes(8, "little") + bytes(50_000_000))


def compressed_weights(directory: Path) -> None:
    (directory / "models/model.safetensors").unlink()
    with zipfile.ZipFile(directory / "models/model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000_000))


def weights_elsewhere(directory: Path) -> None:
    """A tensor with external_data (13) { key "location" value "../../weights" } and data_location (14) EXTERNAL."""
    (directory / "models/model.safetensors").unlink()
    entry = field(1, "location") + field(2, "../../weights")
    tensor = field(1, 4) + field(2, 1) + field(8, "w") + field(13, entry) + field(14, 1)
    (directory / "models/model.onnx").write_bytes(field(7, field(5, tensor)))


def countless_files(directory: Path) -> None:
    (directory / "docs").mkdir(exist_ok=True)
    for number in range(10_001):
        (directory / f"docs/{number}").touch()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "craft", [pipe_in, link_in, huge_table, compressed_weights, weights_elsewhere, countless_files]
)
def test_a_crafted_bundle_is_refused(copy: Path, tmp_path: Path, craft: Callable[[Path], None]) -> None:
    """What leads out of the folder, never ends, or grows when it is read is refused, loaded and imported alike."""
    craft(copy)
    with pytest.raises(BundleForbidden):
        load_bundle(copy)
    with pytest.raises(ImportRefused):
        import_model(copy, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_an_onnx_file_is_followed_to_its_tensors(tmp_path: Path) -> None:
    """Tensors in attributes, in graphs of nodes and in functions are found; a whole file names no other."""
    conv, head = np.ones((8, 1, 3, 3)), np.ones((3, 8))
    write_classifier(tmp_path / "whole.onnx", conv, head, np.ones(3), 64, [SIGMOID])
    assert not names_other_files(tmp_path / "whole.onnx")
    outside = field(8, "w") + field(14, 1)
    for where in (
        field(7, field(1, field(5, field(5, outside)))),  # graph, node, attribute, tensor
        field(7, field(1, field(5, field(6, field(5, outside))))),  # graph, node, attribute, graph, tensor
        field(25, field(7, field(5, field(5, outside)))),  # function, node, attribute, tensor
        field(7, field(15, field(1, outside))),  # graph, sparse tensor, values
    ):
        (tmp_path / "m.onnx").write_bytes(where)
        assert names_other_files(tmp_path / "m.onnx")
