"""Reading a MONAI bundle that others made: network, weights, labels, and those of its transforms that are needed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from inference.allowed import ALLOWED, vet
from inference.arrays import StateDict
from inference.errors import BundleForbidden, ImportRefused, WeightsMismatch
from inference.importing.zoo import as_monai_reads, changes_nothing, ensure_layout, ensure_suited, in_our_values
from inference.networks import as_state, define_network

#: Transforms that are left out, because our decoder does their work or a single picture does not need them.
_DROPPED = {"LoadImage", "EnsureType", "ToTensor", "ToDevice", "EnsureChannelFirst", "Orientation", "AddChannel",
            "AsChannelFirst", "Lambda", "SelectItems", "Transpose"}  # fmt: skip
_DROPPED_ARGUMENTS = {"keys", "allow_missing_keys", "_disabled_", "meta_keys", "meta_key_postfix", "overwriting"}


@dataclass(frozen=True)
class MonaiBundle:
    """The parts of a classifier, in the form in which a hilum bundle holds them."""

    network_def: dict[str, Any]
    state: StateDict
    channels: int
    outputs: int
    labels: tuple[str, ...]  # empty if the bundle names none
    size: int  # side of the square input, pixels
    preprocessing: dict[str, Any] | None  # None if it has none, or it is not kept
    output_kind: str  # "logits", or what the bundle says


def read_monai(directory: Path, keep_preprocessing: bool = True) -> MonaiBundle:
    """Read the MONAI bundle in `directory`, with or without its transforms.

    Raises ImportRefused, BundleForbidden, BundleError, WeightsMismatch.
    """
    ensure_layout(directory)
    metadata, inference = (_json(directory / "configs" / name) for name in ("metadata.json", "inference.json"))
    if "network_def" not in inference:
        raise ImportRefused(f"{directory}/configs/inference.json has no network_def")
    ensure_suited(directory, metadata, inference)
    definition = vet(inference["network_def"], "network_def")
    state = _state(directory)
    with torch.random.fork_rng(devices=[]):
        network = define_network({"network_def": definition}, str(directory))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsMismatch(f"{directory}/models does not fit network_def: {str(error)[:300]}") from error
    size, channels = _input(directory, metadata)
    with torch.inference_mode():
        shape = network.eval()(torch.zeros(1, channels, size, size)).shape
    if len(shape) != 2:
        raise ImportRefused(f"the network of {directory} gives {list(shape)}, but a classifier gives [n, labels]")
    steps = _preprocessing(inference.get("preprocessing"), size, channels) if keep_preprocessing else None
    labels, kind = _labels(metadata, shape[1]), _output_kind(metadata, inference)
    return MonaiBundle(definition, state, channels, shape[1], labels, size, steps, kind)


def _output_kind(metadata: dict[str, Any], inference: dict[str, Any]) -> str:
    """Return what a hilum bundle says; "softmax" if the postprocessing of another one has it, or takes the largest."""
    stated = str(metadata.get("hilum", {}).get("output", ""))
    after = inference.get("postprocessing")
    steps = after.get("transforms", []) if isinstance(after, dict) else []
    exclusive = any(isinstance(step, dict) and True in (step.get("softmax"), step.get("argmax")) for step in steps)
    return stated or ("softmax" if exclusive else "logits")


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImportRefused(f"{path} is missing: a MONAI bundle has configs/metadata.json and configs/inference.json, "
                            "and weights in models/") from None  # fmt: skip
    except ValueError as error:
        raise ImportRefused(f"{path} is not valid JSON: {error}") from error
    return content


def _state(directory: Path) -> StateDict:
    """Return the weights in models/model.safetensors or model.pt. Nothing but tensors is read."""
    safe, pickled = directory / "models/model.safetensors", directory / "models/model.pt"
    if safe.is_file():
        return dict(load_file(safe))
    if not pickled.is_file():
        raise ImportRefused(f"{directory}/models holds neither model.safetensors nor model.pt")
    try:
        return as_state(torch.load(pickled, map_location="cpu", weights_only=True), str(pickled))
    except WeightsMismatch:
        raise
    except Exception as error:
        raise ImportRefused(f"{pickled} does not load with weights_only=True: it holds more than tensors; import the "
                            "file itself with --trust-pickle") from error  # fmt: skip


def _input(directory: Path, metadata: dict[str, Any]) -> tuple[int, int]:
    """Return (side, channels) of the network's input, from the "hilum" object of the metadata or from MONAI's keys."""
    ours = metadata.get("hilum", {})
    if ours:
        return int(ours["input_size"][0]), int(ours.get("input_channels", 1))
    try:
        picture = next(iter(metadata["network_data_format"]["inputs"].values()))
        rows, columns = (int(side) for side in picture["spatial_shape"])
        channels = int(picture["num_channels"])
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise ImportRefused(f"{directory}/configs/metadata.json does not give network_data_format.inputs with "
                            "num_channels and a spatial_shape of two numbers") from error  # fmt: skip
    if rows != columns:
        raise ImportRefused(f"{directory} takes pictures of {rows} x {columns}, but only square ones are supported")
    return rows, channels


def _labels(metadata: dict[str, Any], outputs: int) -> tuple[str, ...]:
    answers = metadata.get("network_data_format", {}).get("outputs", {})
    names: dict[str, Any] = next(iter(answers.values())).get("channel_def", {}) if answers else {}
    labels = metadata.get("hilum", {}).get(
        "labels", list(names.values())
    )  # a hilum bundle has outputs beside its labels
    found = tuple(str(names.get(str(i), "")) if names.get(str(i)) in labels else "" for i in range(outputs))
    return found if any(found) else ()


def _preprocessing(config: Any, size: int, channels: int) -> dict[str, Any] | None:
    """Return the transforms that change the picture, in MONAI's array style; None if there are none.

    Raises BundleForbidden for a transform that is not on the list of allowed ones.
    """
    steps = config.get("transforms", []) if isinstance(config, dict) else []
    steps = [step for step in steps if isinstance(step, dict) and not changes_nothing(step)]
    ours = [in_our_values(step) for step in map(_step, steps) if step]
    if not ours:
        return None
    if not any(str(step["_target_"]).rpartition(".")[2] in ("Resize", "ResizeWithPadOrCrop") for step in ours):
        ours.insert(0, {"_target_": ALLOWED["Resize"], "spatial_size": [size, size], "mode": "area"})
    return {"_target_": ALLOWED["Compose"], "transforms": [*as_monai_reads(steps, channels), *ours]}


def _step(step: dict[str, Any]) -> dict[str, Any] | None:
    """Turn Resized(keys=...) into Resize(...). Return None for a transform that is left out."""
    name = str(step.get("_target_", "")).rpartition(".")[2]
    plain = name if name in ALLOWED or name in _DROPPED else re.sub("(d|D|Dict)$", "", name)
    if plain in _DROPPED:
        return None
    if f"inference.preprocess.{name}" == step["_target_"]:
        return dict(step)
    if plain not in ALLOWED:
        raise BundleForbidden(f"the preprocessing names {name}, which is not among the allowed transforms; give "
                              "--preprocessing standard, imagenet or xrayvision to replace it")  # fmt: skip
    kept = {key: value for key, value in step.items() if key not in _DROPPED_ARGUMENTS}
    vetted: dict[str, Any] = vet(kept | {"_target_": ALLOWED[plain]}, f"preprocessing.{name}")
    return vetted
