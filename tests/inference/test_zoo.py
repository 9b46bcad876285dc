"""Bundles of MONAI's Model Zoo: they import and answer as in MONAI's own pipeline, or are refused with the reason.

The zoo's weights are not at hand. What decides is restated here from each bundle's configuration: its network, what it
takes and gives, and its transforms; the weights are random.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from inference.errors import ImportRefused
from inference.importing.importer import import_model
from inference.networks import define_network
from inference.pictures import display_values
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier
from tests.conftest import ROOT

LOADED = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]


@dataclass(frozen=True)
class Published:
    """A bundle as its configuration describes it, and the reason for which it is refused; "" if it imports."""

    network: dict[str, Any]
    sides: tuple[int, ...]
    channels: int = 3
    gives: dict[str, Any] = field(default_factory=lambda: {"format": "classes", "spatial_shape": [1, 2]})
    labels: tuple[str, ...] = ("in body", "out body")
    transforms: tuple[dict[str, Any], ...] = ()
    reason: str = ""


def normalised(side: int) -> tuple[dict[str, Any], ...]:
    """Resize, a cast by an expression, and normalisation of each channel, as the endoscopic classifier has them."""
    return (
        {"_target_": "Resized", "keys": "image", "spatial_size": [side, side], "mode": "bilinear"},
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
        {"_target_": "EnsureTyped", "keys": "image"},
    )


OUTLINES = {"format": "segmentation", "spatial_shape": [736, 480]}
ZOO = {
    "endoscopic_inbody_classification": Published(
        {"_target_": "SEResNet50", "spatial_dims": 2, "in_channels": 3, "num_classes": 2}, (256, 256),
        transforms=normalised(256)),
    "endoscopic_tool_segmentation": Published(
        {"_target_": "FlexibleUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2}, (736, 480),
        gives=OUTLINES, labels=("background", "tools"), reason="gives a picture of 2 channels"),
    "ventricular_short_axis_3label": Published(
        {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4}, (256, 256), 1,
        gives=OUTLINES, labels=("background", "lv_pool", "myocardium", "rv_pool"), reason="picture of 4 channels"),
    "pathology_nuclei_classification": Published(
        {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 4, "out_channels": 4}, (128, 128), 4,
        reason="takes 4 channels"),
    "pathology_nuclick_annotation": Published(
        {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 5, "out_channels": 1}, (128, 128), 5,
        gives=OUTLINES, reason="takes 5 channels"),
    "pathology_nuclei_segmentation_classification": Published(
        {"_target_": "HoVerNet", "mode": "fast", "in_channels": 3, "out_classes": 5}, (256, 256),
        gives=OUTLINES, reason="gives a picture"),
    "pathology_tumor_detection": Published(
        {"_target_": "TorchVisionFCModel", "model_name": "resnet18", "num_classes": 1}, (224, 224),
        gives={"format": "classes", "spatial_shape": [1, 1]}, labels=("tumor",), reason="torchvision"),
    "breast_density_classification": Published(
        {"_target_": "TorchVisionFCModel", "model_name": "inception_v3", "num_classes": 4}, (299, 299),
        gives={"format": "labels", "spatial_shape": [1, 4]}, labels=("A", "B", "C", "D"), reason="torchvision"),
    "valve_landmarks": Published(
        {"_target_": "valve_landmarks.PointRegressor", "in_shape": [1, 256, 256]}, (256, 256), 1,
        gives={"format": "points", "spatial_shape": [10]}, reason="runs no code of a bundle"),
    "spleen_ct_segmentation": Published(
        {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2}, (96, 96, 96), 1,
        gives={"format": "segmentation", "spatial_shape": [96, 96, 96]}, reason=r"takes volumes \(spatial_dims 3\)"),
}  # fmt: skip


def write(directory: Path, bundle: Published) -> Path:
    """The bundle in a folder; with random weights, if its network is one that MONAI builds here."""
    picture = {"num_channels": bundle.channels, "spatial_shape": list(bundle.sides)}
    answer = {"num_channels": len(bundle.labels), "channel_def": {str(i): n for i, n in enumerate(bundle.labels)}}
    metadata = {"network_data_format": {"inputs": {"image": picture}, "outputs": {"pred": answer | bundle.gives}}}
    inference = {"imports": ["$import glob"], "network_def": bundle.network, "network": "$@network_def.to('cpu')",
                 "preprocessing": {"_target_": "Compose", "transforms": [*LOADED, *bundle.transforms]}}  # fmt: skip
    (directory / "configs").mkdir(parents=True)
    (directory / "models").mkdir()
    for name, content in (("metadata", metadata), ("inference", inference)):
        (directory / f"configs/{name}.json").write_text(json.dumps(content))
    if not bundle.reason:
        torch.manual_seed(1)
        torch.save(define_network(inference, "zoo").state_dict(), directory / "models/model.pt")
    return directory


def in_monai(directory: Path, picture: Path) -> torch.Tensor:
    """What MONAI's own pipeline gives for a file of three equal colours: the bundle's transforms, then its network."""
    parser = ConfigParser(json.loads((directory / "configs/inference.json").read_text()))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(directory / "models/model.pt", weights_only=True))
    given = parser.get_parsed_content("preprocessing")({"image": str(picture)})["image"]
    with torch.inference_mode():
        answer: torch.Tensor = network.eval()(given[None].as_tensor())
    return answer


def compared(source: Path, out: Path, channels: int) -> None:
    """Import the bundle, and compare the logits for a picture that is neither square nor symmetrical."""
    rows, columns = np.mgrid[0:90, 0:140]
    grey = np.asarray(rows + columns // 2 + 40 * (columns > 100), np.uint8)
    file = out.parent / "picture.png"
    Image.fromarray(grey if channels == 1 else np.stack([grey] * channels, 2)).save(file)
    classifier = Classifier(import_model(source, out), "torch", "cpu")
    batch = preprocess(classifier.transform, display_values(file.read_bytes(), file.name))[None]
    np.testing.assert_allclose(classifier.run(batch).logits, in_monai(source, file).numpy(), atol=2e-3)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name: str, tmp_path: Path) -> None:
    """Each bundle gives MONAI's own logits after the import, or a sentence that says why it cannot be imported."""
    source = write(tmp_path / name, ZOO[name])
    if not ZOO[name].reason:
        return compared(source, tmp_path / "out", ZOO[name].channels)
    with pytest.raises(ImportRefused, match=f"{name} .*{ZOO[name].reason}"):
        import_model(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turned", [False, True], ids=["as it is read", "turned back"])
def test_values_of_eight_bits_and_axes(channels: int, turned: bool, tmp_path: Path) -> None:
    """A range of 0 to 255 is one of 0 to 1 here, and x is the first axis, unless the bundle turns that back."""
    steps = ({"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0.0, "a_max": 255.0, "b_min": -1.0,
              "b_max": 1.0}, {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]})  # fmt: skip
    back = ({"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]},) if turned else ()
    network = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": channels, "out_channels": 2,
               "init_features": 8, "growth_rate": 4, "block_config": [2, 2]}  # fmt: skip
    source = write(tmp_path / "source", Published(network, (64, 64), channels, transforms=(*back, *steps)))
    compared(source, tmp_path / "out", channels)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """A configuration in YAML, and weights that were left to be downloaded, are refused with what to do."""
    source = write(tmp_path / "zoo", ZOO["endoscopic_inbody_classification"])
    (source / "models/model.pt").unlink()
    (source / "large_files.yml").write_text("large_files: []")
    with pytest.raises(ImportRefused, match="download_large_files"):
        import_model(source, tmp_path / "out")
    (source / "configs/inference.json").rename(source / "configs/inference.yaml")
    with pytest.raises(ImportRefused, match=r"configs/inference\.yaml.*export_config_file"):
        import_model(source, tmp_path / "out")


def test_the_table_of_the_docs() -> None:
    """docs/models.md says of each of these bundles whether it imports, as the importer decides."""
    text = (ROOT / "docs/models.md").read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    for name, bundle in ZOO.items():
        assert ("imports" in rows[name].split("|")[2]) == (not bundle.reason), name
