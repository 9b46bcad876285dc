"""Reading a model's folder as Hugging Face publishes it: config.json and model.safetensors, of timm or transformers.

Neither library is needed. The networks that hilum builds are DenseNets and ResNets; others are refused with the reason.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from inference.arrays import StateDict
from inference.errors import ImportRefused
from inference.importing import densenet_names, resnet_names

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class HuggingFaceModel:
    """The parts of a classifier, in the form in which a hilum bundle holds them."""

    network_def: dict[str, Any]
    state: StateDict
    channels: int
    outputs: int
    labels: tuple[str, ...]  # empty if the folder names none
    size: int  # side of the square input, pixels
    preprocessing: dict[str, Any]
    output_kind: str  # "softmax", or "logits" where the configuration says that several labels can be right at once


def is_hugging_face(directory: Path) -> bool:
    """Whether `directory` is a model's folder as Hugging Face publishes it."""
    return (directory / "config.json").is_file() and not (directory / "configs").exists()


def read_hugging_face(directory: Path) -> HuggingFaceModel:
    """Read the folder. Raises ImportRefused for weights that are no safetensors, and for a network of another kind."""
    config = _json(directory / "config.json")
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise ImportRefused(f"{directory.name} has no model.safetensors: a pickled file (pytorch_model.bin) is "
                            "imported by naming the file itself")  # fmt: skip
    state = load_file(weights)
    if resnet_names.is_resnet(state):
        state = resnet_names.as_monai_names(state)
        network = resnet_names.network_def(state, directory.name)
        channels, outputs = network["n_input_channels"], network["num_classes"]
    elif any("denseblock1." in name for name in state):
        state = densenet_names.to_monai(state, directory.name)
        network = densenet_names.network_def(state)
        channels, outputs = network["in_channels"], network["out_channels"]
    else:
        kind = config.get("architecture") or (config.get("architectures") or [config.get("model_type", "unknown")])[0]
        raise ImportRefused(f"{directory.name} is a {kind}, and hilum builds only DenseNets and ResNets from a Hugging "
                            "Face folder: load it with timm or transformers, export it as ONNX, and import that "
                            "file")  # fmt: skip
    own = directory / "preprocessor_config.json"  # transformers'; timm says it in config.json
    seen = _json(own) if own.is_file() else config.get("pretrained_cfg", {})
    size = _side(seen)
    multiple = config.get("problem_type") == "multi_label_classification"
    return HuggingFaceModel(network, state, channels, outputs, _labels(config), size,
                            _preprocessing(seen, size, channels), "logits" if multiple else "softmax")  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ImportRefused(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ImportRefused(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels of timm ("label_names") or transformers ("id2label"); () where they are only numbered."""
    if names := config.get("label_names"):
        return tuple(map(str, names))
    found = config.get("id2label", {})
    labels = tuple(str(found[number]) for number in sorted(found, key=int))
    return () if any(label.startswith("LABEL_") for label in labels) else labels


def _side(seen: dict[str, Any]) -> int:
    """Return the side of the network's input, 224 where the configuration is silent."""
    if "input_size" in seen:
        return int(seen["input_size"][-1])
    size = seen.get("crop_size") or seen.get("size") or 224
    return int(size.get("height") or size.get("shortest_edge") or 224) if isinstance(size, dict) else int(size)


def _preprocessing(seen: dict[str, Any], size: int, channels: int) -> dict[str, Any]:
    """Return the transforms of an evaluation by timm or transformers: shorter side to a size, middle, normalisation."""
    means, spreads = (list(map(float, seen.get(timm) or seen.get(other) or usual)) for timm, other, usual in (
        ("mean", "image_mean", _IMAGENET[0]), ("std", "image_std", _IMAGENET[1])))  # fmt: skip
    if channels != len(means):
        means, spreads = [sum(means) / len(means)] * channels, [sum(spreads) / len(spreads)] * channels
    resized = round(size / float(seen.get("crop_pct") or 1.0))
    steps: list[dict[str, Any]] = [
        _transform("EnsureChannelFirst", channel_dim="no_channel"),
        {"_target_": "inference.preprocess.CentreSquare"},
        _transform("Resize", spatial_size=[resized, resized], mode="area"),
        _transform("CenterSpatialCrop", roi_size=[size, size]),
        _transform("RepeatChannel", repeats=channels),
        _transform("NormalizeIntensity", subtrahend=means, divisor=spreads, channel_wise=True),
    ]
    return _transform("Compose", transforms=steps)


def _transform(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"monai.transforms.{name}", **arguments}
