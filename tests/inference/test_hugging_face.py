"""A Hugging Face folder: ResNets and DenseNets of timm and transformers import with the same answers, others do not."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import relu

from inference.bundle import load_bundle
from inference.errors import ImportRefused
from inference.importing.hugging_face import read_hugging_face
from inference.importing.importer import import_model
from inference.networks import define_network
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier
from tests.support.bundles import noise


class Block(nn.Module):
    """A residual block as in torchvision and timm; with three convolutions if it is deep."""

    def __init__(self, given: int, planes: int, stride: int, deep: bool) -> None:
        super().__init__()
        wide, self.deep = planes * (4 if deep else 1), deep
        self.conv1 = nn.Conv2d(given, planes, 1 if deep else 3, 1 if deep else stride, 0 if deep else 1, bias=False)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride if deep else 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        if deep:
            self.conv3, self.bn3 = nn.Conv2d(planes, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample = None
        if stride != 1 or given != wide:
            self.downsample = nn.Sequential(nn.Conv2d(given, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.deep:
            out = self.bn3(self.conv3(relu(out)))
        return relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A narrow ResNet in plain torch, its tensors named as torchvision and timm name them."""

    def __init__(self, channels: int, classes: int, deep: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.maxpool, given = nn.MaxPool2d(3, 2, 1), 8
        for number, planes in enumerate((8, 16, 24, 32), 1):
            blocks = []
            for index in range(2):
                blocks.append(Block(given, planes, 2 if number > 1 and index == 0 else 1, deep))
                given = planes * (4 if deep else 1)
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(given, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def as_transformers(name: str) -> str:
    """A name of torchvision's in the naming of transformers' ResNetForImageClassification."""
    if match := re.match(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(.*)", name):
        kind = "convolution" if match[3] == "conv" else "normalization"
        return (
            f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.layer.{int(match[4]) - 1}.{kind}.{match[5]}"
        )
    if match := re.match(r"layer(\d)\.(\d+)\.downsample\.(\d)\.(.*)", name):
        kind = ("convolution", "normalization")[int(match[3])]
        return f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.shortcut.{kind}.{match[4]}"
    name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
    return re.sub(r"^fc\.", "classifier.1.", re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name))


TIMM = {"architecture": "resnet18", "num_classes": 3, "label_names": ["Effusion", "Mass", "Nodule"],
        "problem_type": "multi_label_classification",
        "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 0.8, "mean": [0.5, 0.4, 0.3],
                           "std": [0.2, 0.25, 0.3]}}  # fmt: skip
TRANSFORMERS = {"architectures": ["ResNetForImageClassification"], "problem_type": "multi_label_classification",
                "id2label": {"1": "Mass", "0": "Effusion", "2": "Nodule"}}  # fmt: skip
PREPROCESSOR = {"size": {"height": 64, "width": 64}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}


def folder(place: Path, config: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, place / "model.safetensors")
    return place


@pytest.mark.parametrize("deep", [False, True], ids=["basic", "bottleneck"])
@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_resnet(library: str, deep: bool, tmp_path: Path) -> None:
    """A ResNet of timm or transformers gives the logits of the network in plain torch, with its labels and scaling."""
    network = ResNet(3, 3, deep)
    network(torch.randn(4, 3, 64, 64))  # in training, so that the normalisations have seen something
    state = network.state_dict()
    if library == "transformers":
        state = {as_transformers(name): tensor for name, tensor in state.items()}
    source = folder(tmp_path / "resnet", TIMM if library == "timm" else TRANSFORMERS, state)
    if library == "transformers":
        (source / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    bundle = import_model(source, tmp_path / "out")
    assert (bundle.labels, bundle.input_size, bundle.input_channels) == (("Effusion", "Mass", "Nodule"), (64, 64), 3)
    classifier = Classifier(load_bundle(bundle.directory), "torch", "cpu")
    batch = np.stack([preprocess(classifier.transform, picture) for picture in noise(3)])
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(classifier.run(batch).logits, expected, atol=1e-4)
    grey = np.full((64, 64), 0.5, np.float32)
    np.testing.assert_allclose(preprocess(classifier.transform, grey)[:, 0, 0], [0.0, 0.4, 2 / 3], atol=1e-6)


def test_a_densenet(tmp_path: Path) -> None:
    """A DenseNet of timm, whose naming is torchvision's, imports."""
    definition = {"_target_": "monai.networks.nets.DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 3,
                  "init_features": 16, "growth_rate": 8, "block_config": [2, 2, 2]}  # fmt: skip
    state = define_network({"network_def": definition}, "test").state_dict()
    renamed = {
        name.replace(".layers.", ".").replace("class_layers.out.", "classifier."): t for name, t in state.items()
    }
    found = read_hugging_face(folder(tmp_path / "densenet", TIMM | {"architecture": "densenet121"}, renamed))
    assert found.network_def == definition | {"bn_size": 4}
    assert (found.outputs, found.size, found.output_kind) == (3, 64, "logits")


def test_labels_that_exclude_each_other(tmp_path: Path) -> None:
    """Without problem_type exactly one label is right, which is a softmax; numbered labels are none."""
    config = {"architectures": ["ResNetForImageClassification"], "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
    found = read_hugging_face(folder(tmp_path / "resnet", config, ResNet(1, 2, False).state_dict()))
    assert (found.output_kind, found.labels, found.size, found.channels) == ("softmax", (), 224, 1)


@pytest.mark.parametrize(
    ("config", "state", "message"),
    [
        ({"architecture": "tf_efficientnet_lite0"}, {"conv_stem.weight": torch.zeros(2)}, "is a tf_efficientnet_lite0"),
        ({"architectures": ["ViTForImageClassification"]}, {"vit.x": torch.zeros(2)}, "is a ViTForImageClassification"),
    ],
)  # fmt: skip
def test_other_networks_are_refused(
    config: dict[str, Any], state: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    """A network that hilum does not build is refused by its name, with the way over ONNX."""
    with pytest.raises(ImportRefused, match=f"{message}, .*ONNX"):
        import_model(folder(tmp_path / "model", config, state), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_relatives_of_the_resnet_are_refused(tmp_path: Path) -> None:
    """Grouped convolutions and another stem are not taken for a ResNet's; nor is a folder without safetensors."""
    grouped, stem = (ResNet(3, 3, True).state_dict() for _ in range(2))
    grouped["layer1.0.conv2.weight"] = grouped["layer1.0.conv2.weight"][:, :2]
    stem["conv1.weight"] = stem["conv1.weight"][:, :, :3, :3]
    for name, state in (("grouped", grouped), ("stem", stem)):
        with pytest.raises(ImportRefused, match="relative of the ResNet"):
            import_model(folder(tmp_path / name, TIMM, state), tmp_path / "out")
    (tmp_path / "stem/model.safetensors").unlink()
    with pytest.raises(ImportRefused, match=r"no model\.safetensors"):
        import_model(tmp_path / "stem", tmp_path / "out")
