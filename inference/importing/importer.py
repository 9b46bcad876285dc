"""`hilum model import`: turning a model that somebody else made into a bundle.

*.pt *.pth *.bin *.safetensors   a DenseNet's state dict in torchvision's, TorchXRayVision's or MONAI's naming
*.onnx                           any network with one square picture as input and [n, labels] as its first output
a directory                      a MONAI bundle with a classifier; a DenseNet or ResNet as Hugging Face publishes it
                                 (config.json, model.safetensors); a hilum bundle is copied unchanged
"""

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from inference.arrays import StateDict
from inference.bundle import Bundle, is_ours, load_bundle
from inference.bundle_writer import base_metadata, write_bundle
from inference.errors import BundleError, EngineError, ImportRefused
from inference.files.vetting import UnsafeFile, ensure_plain, ensure_safe, plain_files
from inference.importing.densenet_names import network_def, to_monai
from inference.importing.foreign import read_foreign_state
from inference.importing.hugging_face import is_hugging_face, read_hugging_face
from inference.importing.labels import XRAYVISION, named_outputs
from inference.importing.monai_bundles import read_monai
from inference.importing.output_kind import check_outputs, ensure_known

#: Means and standard deviations of ImageNet's channels, with which torchvision's networks were trained.
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Wanted:
    """What the user states about the model. Empty: taken from the source, or decided by convention."""

    name: str = ""
    version: str = "imported"
    labels: Sequence[str] = ()  # one for each output, "" for an output without meaning
    size: int = 0  # side of the square input in pixels; 224 by convention
    preprocessing: str = ""  # xrayvision, imagenet or standard
    thresholds: dict[str, float] = field(default_factory=dict)  # by label; 0.5 otherwise
    trust_pickle: bool = False
    origin: str = ""  # where the model comes from, for the model card
    licence: str = ""  # of the weights, for the bundle's file LICENSE
    labels_of: str = ""  # a key of `labels.PUBLISHED`, instead of labels
    output: str = ""  # what the network gives, one of bundle.OUTPUT_KINDS


def import_model(
    source: Path, directory: Path, wanted: Wanted = Wanted(), judge: Callable[[Bundle], None] = lambda bundle: None
) -> Bundle:
    """Write a bundle of the foreign model `source` into `directory`, which must be empty or not exist.

    The bundle is made beside `directory` and renamed at the end, so it is either complete or absent. `judge` is called
    before, and may raise ImportRefused. Raises ImportRefused, and what `load_bundle` raises.
    """
    if not source.exists():
        raise ImportRefused(f"{source} does not exist")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ImportRefused(f"{directory} exists already: name a new directory")
    ensure_known(wanted.output)
    _vet(source)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".import-") as folder:
        made = Path(folder, "bundle")
        made.mkdir()
        try:
            _kind(source, wanted)(source, made, wanted)
            bundle = load_bundle(made)
            if not _is_copied(source, wanted):
                check_outputs(bundle, stated=bool(wanted.output))
            judge(bundle)
        except (BundleError, EngineError) as error:
            said = str(error).replace(f"{made}/", "")
            raise ImportRefused(f"{source.name} does not give a working bundle: {said}") from error
        made.replace(directory)
    return load_bundle(directory)


def _vet(source: Path) -> None:
    """Raise ImportRefused for what must not even be read."""
    try:
        for path in plain_files(source) if source.is_dir() else [source]:
            ensure_plain(path)
            ensure_safe(path)
    except UnsafeFile as fault:
        raise ImportRefused(str(fault)) from fault


def _is_copied(source: Path, wanted: Wanted) -> bool:
    return source.is_dir() and wanted == Wanted() and is_ours(source)


def _kind(source: Path, wanted: Wanted) -> Any:
    if source.is_dir() and is_hugging_face(source):
        return _import_hugging_face
    if source.is_dir():
        return _copy if _is_copied(source, wanted) else _import_monai
    return _import_onnx if source.suffix.lower() == ".onnx" else _import_state


def _copy(source: Path, directory: Path, _: Wanted) -> None:
    shutil.copytree(source, directory, symlinks=True, dirs_exist_ok=True)


def _import_state(source: Path, directory: Path, wanted: Wanted) -> None:
    state, named = read_foreign_state(source, wanted.trust_pickle)
    points = next((tensor for name, tensor in state.items() if name.endswith("op_threshs")), None)
    if not named and points is not None and points.numel() == len(XRAYVISION):
        named = XRAYVISION  # only TorchXRayVision stores such thresholds, in the order of its labels
    network = to_monai(state, source.name)
    definition = network_def(network)
    _write(_Parts(source, directory, definition, network, definition["in_channels"], definition["out_channels"],
                  size=wanted.size or 224, named=named, points=points), wanted)  # fmt: skip


def _import_monai(source: Path, directory: Path, wanted: Wanted) -> None:
    found = read_monai(source, keep_preprocessing=not wanted.preprocessing)
    parts = _Parts(source, directory, found.network_def, found.state, found.channels, found.outputs,
                   size=wanted.size or found.size, named=found.labels, preprocessing=found.preprocessing,
                   output_kind=found.output_kind)  # fmt: skip
    _write(parts, wanted)


def _import_hugging_face(source: Path, directory: Path, wanted: Wanted) -> None:
    found = read_hugging_face(source)
    parts = _Parts(source, directory, found.network_def, found.state, found.channels, found.outputs,
                   size=wanted.size or found.size, named=found.labels, preprocessing=found.preprocessing,
                   output_kind=found.output_kind)  # fmt: skip
    _write(parts, wanted)


def _import_onnx(source: Path, directory: Path, wanted: Wanted) -> None:
    from inference.importing.onnx_files import read_onnx

    found = read_onnx(source)
    if found.probabilities and wanted.output not in ("", "probabilities"):
        raise ImportRefused(f"{source.name} ends in a sigmoid or softmax: it gives probabilities, not {wanted.output}")
    (directory / "models").mkdir()
    shutil.copyfile(source, directory / "models/model.onnx")
    _write(_Parts(source, directory, None, None, found.channels, found.outputs, size=wanted.size or found.size or 224,
                  output_kind="probabilities" if found.probabilities else "logits"), wanted)  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """What was read from the source, of whatever kind it is."""

    source: Path
    directory: Path
    network_def: dict[str, Any] | None  # None: an ONNX file, which is in `directory` already
    state: StateDict | None
    channels: int
    outputs: int
    size: int
    named: Sequence[str] = ()  # the labels that the source names itself
    points: torch.Tensor | None = None  # the thresholds that TorchXRayVision stores beside its weights
    preprocessing: dict[str, Any] | None = None
    output_kind: str = "logits"


def _write(parts: _Parts, wanted: Wanted) -> None:
    outputs = named_outputs(parts.source.name, parts.outputs, wanted.labels or parts.named, wanted.labels_of)
    labels = tuple(dict.fromkeys(label for label in outputs if label))
    metadata = base_metadata(wanted.name or parts.source.stem, wanted.version, f"Imported from {parts.source.name}.",
                             labels, parts.size, trained=True, channels=parts.channels)  # fmt: skip
    metadata["hilum"] |= {"outputs": list(outputs), "output": wanted.output or parts.output_kind}
    inference: dict[str, Any] = {"preprocessing": _preprocessing(parts, wanted)}
    if parts.network_def is not None:
        inference["network_def"] = parts.network_def
    if wanted.licence:
        (parts.directory / "LICENSE").write_text(wanted.licence)
    write_bundle(parts.directory, metadata, inference, parts.state, _calibration(parts, wanted, outputs))
    (parts.directory / "docs/README.md").write_text(
        f"# {metadata['name']}\n\n{wanted.origin or 'For data, licence and performance, ask its authors.'}\n\n"
        f"Imported from `{parts.source.name}`. Measure it on your own images with `hilum evaluate` before relying on "
        "it.\n\nThis is not a medical device.\n"
    )


def _calibration(parts: _Parts, wanted: Wanted, outputs: Sequence[str]) -> dict[str, Any] | None:
    """Return the operating points: those that were given, else those that TorchXRayVision stores beside its weights."""
    points = [math.nan] * len(outputs) if parts.points is None else [float(p) for p in parts.points.flatten()]
    own = {label: p for label, p in zip(outputs, points, strict=False) if label and 0 < p < 1}
    strays = set(wanted.thresholds) - set(outputs)
    if strays:
        raise ImportRefused(f"thresholds are given for {sorted(strays)}, which are not labels of this model")
    rows = {label: {"threshold": threshold} for label, threshold in (own | wanted.thresholds).items()}
    return {"findings": rows} if rows else None


def _preprocessing(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    if parts.preprocessing is not None and not wanted.preprocessing:
        return parts.preprocessing
    kind = wanted.preprocessing or ("imagenet" if parts.channels == 3 else "xrayvision")
    steps: dict[str, list[dict[str, Any]]] = {
        "xrayvision": [_transform("ScaleIntensityRange", a_min=0.0, a_max=1.0, b_min=-1024.0, b_max=1024.0)],
        "imagenet": [],
        "standard": [_transform("NormalizeIntensity")],
    }
    if kind not in steps:
        raise ImportRefused(f"preprocessing is {kind!r}, expected one of {', '.join(steps)}")
    crop = [{"_target_": "inference.preprocess.CentreSquare"}] if kind == "xrayvision" else []
    resize = _transform("Resize", spatial_size=[parts.size, parts.size], mode="area")
    colour = [_transform("RepeatChannel", repeats=parts.channels)] if parts.channels > 1 else []
    if kind == "imagenet":
        means, spreads = (values if parts.channels == 3 else [sum(values) / 3] for values in _IMAGENET)
        colour.append(_transform("NormalizeIntensity", subtrahend=means, divisor=spreads, channel_wise=True))
    first = _transform("EnsureChannelFirst", channel_dim="no_channel")
    return _transform("Compose", transforms=[first, *crop, resize, *steps[kind], *colour])


def _transform(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"monai.transforms.{name}", **arguments}
