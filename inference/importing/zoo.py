"""MONAI bundles that others publish, such as the Model Zoo's: which of them hilum can run, and how they see a picture.

MONAI's readers give a picture with x as its first axis, and 8 bits as 0 to 255. hilum gives rows first, and 0 to 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.allowed import ALLOWED
from inference.errors import ImportRefused

_WHITE = 255.0  # of a picture of 8 bits, as a bundle's transforms see it
_ONNX = "export the network as ONNX with its preprocessing in mind, and import that file"


def ensure_suited(directory: Path, metadata: dict[str, Any], inference: dict[str, Any]) -> None:
    """Raise ImportRefused, with the reason, for a bundle whose network hilum cannot run on one picture."""
    definition = inference.get("network_def")
    network = definition if isinstance(definition, dict) else {}
    target = str(network.get("_target_", ""))
    why = (
        _volume(network, _format(metadata, "inputs"))
        or _channels(_format(metadata, "inputs"))
        or _outlines(_format(metadata, "outputs"))
        or _unknown(target)
    )
    if why:
        raise ImportRefused(f"{directory.name} {why}")


def ensure_layout(directory: Path) -> None:
    """Raise ImportRefused for a bundle whose configuration is YAML, or whose weights were left to be downloaded."""
    configs = directory / "configs"
    yaml = [path.name for suffix in ("yaml", "yml") for path in configs.glob(f"inference.{suffix}")]
    if yaml and not (configs / "inference.json").is_file():
        raise ImportRefused(f"{directory.name} has configs/{yaml[0]}, and hilum reads configs/inference.json only: "
                            "convert it with monai.bundle.ConfigParser.export_config_file")  # fmt: skip
    listed = [path for folder in (directory, configs) for path in folder.glob("large_files.*")]
    if listed and not any((directory / "models").glob("model.*")):
        raise ImportRefused(f"{directory.name} holds no weights yet: {listed[0].relative_to(directory)} says where "
                            "they are, and `python -m monai.bundle download_large_files` fetches them")  # fmt: skip


def _format(metadata: dict[str, Any], side: str) -> dict[str, Any]:
    """Return the description of the first input or output, {} if there is none."""
    tensors = metadata.get("network_data_format", {}).get(side, {})
    first: Any = next(iter(tensors.values()), {})
    return first if isinstance(first, dict) else {}


def _volume(network: dict[str, Any], picture: dict[str, Any]) -> str:
    dims = network.get("spatial_dims", network.get("dimensions"))
    if dims == 3 or (dims is None and len(picture.get("spatial_shape", ())) == 3):
        return (
            "takes volumes (spatial_dims 3): hilum analyses one picture at a time, and runs networks of two dimensions"
        )
    return ""


def _channels(picture: dict[str, Any]) -> str:
    channels = picture.get("num_channels", 1)
    if channels in (1, 3):
        return ""
    return (f"takes {channels} channels: a picture has one, or three of colour; the others are marks of a person or a "
            "second picture, which nobody gives here")  # fmt: skip


def _outlines(answer: dict[str, Any]) -> str:
    sides = [side for side in answer.get("spatial_shape", ()) if side != 1]
    if answer.get("format") == "segmentation" or len(sides) > 1:
        return f"gives a picture of {answer.get('num_channels', 'several')} channels: hilum imports classifiers"
    return ""


def _unknown(target: str) -> str:
    if not target or target in ALLOWED:
        return ""
    if target.rpartition(".")[2] == "TorchVisionFCModel":
        return f"has a network of torchvision's ({target}), which hilum does not install: {_ONNX}"
    if "." in target and not target.startswith("monai."):
        return f"brings the code of its network ({target}), and hilum runs no code of a bundle: {_ONNX}"
    return f"has the network {target}, which is none that hilum builds: {_ONNX}"


def as_monai_reads(steps: Sequence[dict[str, Any]], channels: int) -> list[dict[str, Any]]:
    """Return the transforms that give a picture of hilum's, [rows, columns], the form in which `steps` expect it.

    `steps` are all those of the bundle. Where LoadImage is among them, x is the first axis, unless a Transpose changes
    that.
    """
    names = [_name(step) for step in steps]
    turns = names.count("LoadImage") + sum(_name(s) == "Transpose" and s.get("indices") == [0, 2, 1] for s in steps)
    first: list[dict[str, Any]] = [{"_target_": ALLOWED["EnsureChannelFirst"], "channel_dim": "no_channel"}]
    if turns % 2:
        first.append({"_target_": ALLOWED["Transpose"], "indices": [0, 2, 1]})
    if channels > 1 and "RepeatChannel" not in names:
        first.append({"_target_": ALLOWED["RepeatChannel"], "repeats": channels})
    return first


def in_our_values(step: dict[str, Any]) -> dict[str, Any]:
    """Return a ScaleIntensityRange for 0 to 1 in place of one for 0 to 255, and any other transform as it is."""
    if _name(step) != "ScaleIntensityRange" or step.get("a_max") != _WHITE:
        return step
    return step | {"a_min": step.get("a_min", 0.0) / _WHITE, "a_max": 1.0}


def changes_nothing(step: dict[str, Any]) -> bool:
    """Whether a transform makes float32 of the picture, which it is already."""
    return _name(step) == "CastToType" and str(step.get("dtype", "float32")).rpartition(".")[2] == "float32"


def _name(step: dict[str, Any]) -> str:
    """Return the name of a transform without its module and without the d of a dictionary's transform."""
    name = str(step.get("_target_", "")).rpartition(".")[2]
    plain = name.removesuffix("Dict").removesuffix("D") if name.endswith(("Dict", "D")) else name.removesuffix("d")
    return plain if plain in ALLOWED or plain in ("LoadImage", "Transpose") else name
