"""A bundle: a directory in MONAI's layout that holds everything on which the model's answer depends.

    configs/metadata.json       MONAI's metadata (name, version, description, task, network_data_format ...) and a
                                "hilum" object:
        {"labels": ["Atelectasis", ...],   findings, a subset of outputs, in the order of reports
         "outputs": ["Atelectasis", ...],  the name of each output of the network, in order; "" if unused.
                                           Optional, default: labels. May name more (e.g. "Pathology")
         "task": "segmentation",           the network outlines structures: its output is a map for each of outputs.
                                           Optional, default "classification"
         "output": "logits",               of findings of which each can be there; "softmax": logits of a network of
                                           which exactly one output is right; "probabilities". Optional
         "trained": true,                  false: every report says that the weights are untrained
         "input_size": [128, 128],         rows, columns of the network's input
         "input_channels": 1,              optional, default 1
         "channels": 3,                    the preprocessing takes colour, [rows, columns, 3]. Optional, default 1
         "test_time": ["flip"]}            optional: the mirrored picture is run too, and the logits are averaged
    configs/inference.json      "preprocessing": a monai.transforms.Compose that takes float32 [rows, columns] in 0..1
                                and returns float32 [channels, S, S]; "network_def": a network. Only listed classes
                                (inference/allowed.py) may be named unless the administrator pinned the digest. The
                                other ids are for MONAI's own tools, see inference/workflow/ids.py
    configs/calibration.json    optional, see inference/serving/calibration.py
    configs/gate.json           optional, see inference/serving/image_gate.py; with models/gate.safetensors
    configs/structures.json     optional, of a segmentation, see inference/serving/structures.py
    configs/location.json       optional, see inference/serving/location_rule.py; with models/location.safetensors
    models/model.safetensors    the network's state dict (any float type; float32 in memory), or
    models/model.pt             the same, loaded with weights_only=True, or
    models/model.onnx           a whole network; there is no "network_def" then
    golden/input.npy            uint8 [rows, columns], a drawn picture
    golden/expected.json        the probabilities that it must give, see inference/golden.py
    docs/README.md              the model card
    LICENSE                     the weights' licence

The digest is the SHA-256 over all files except those below docs/ (a better model card does not make another model), in
the sorted order of their relative names: name, NUL, length as eight bytes big-endian, content.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from inference.allowed import vet
from inference.errors import BundleError, BundleForbidden, BundleNotFound, DigestMismatch
from inference.files.vetting import UnsafeFile, blocks, ensure_safe, plain_files

PACKAGED = Path(__file__).resolve().parent / "bundles"
DEFAULT = PACKAGED / "default"
PINS = PACKAGED / "pins.json"  # {"default": "sha256:..."}: what this package was released with

OUTPUT_KINDS = ("logits", "softmax", "probabilities")  # what a network gives


@dataclass(frozen=True)
class Bundle:
    """A model on disk whose configuration was read and checked. Its weights are not loaded yet."""

    directory: Path
    name: str
    version: str
    digest: str  # "sha256:" and 64 hexadecimal digits
    pinned: bool  # whether the configuration or the package names this digest
    trained: bool
    labels: tuple[str, ...]
    outputs: tuple[str, ...]
    output_kind: str  # one of OUTPUT_KINDS
    task: str  # "classification" or "segmentation"
    input_size: tuple[int, int]  # rows, columns
    input_channels: int
    channels: int  # of the picture that the preprocessing takes: 1, [rows, columns], or 3, [rows, columns, 3]
    test_time: tuple[str, ...]
    metadata: dict[str, Any]

    @cached_property
    def inference(self) -> dict[str, Any]:
        """configs/inference.json, checked against the list of allowed classes unless the bundle is pinned."""
        config = _read_json(self.directory / "configs/inference.json")
        wanted = {key: config[key] for key in ("preprocessing", "network_def") if key in config}
        return config if self.pinned else {key: vet(value, key) for key, value in wanted.items()}

    @property
    def weights(self) -> Path:
        """The one file that holds the weights. Raises BundleNotFound."""
        for name in ("model.safetensors", "model.pt", "model.onnx"):
            path = self.directory / "models" / name
            if path.is_file():
                return path
        raise BundleNotFound(f"{self.directory}/models holds none of model.safetensors, model.pt, model.onnx")

    @cached_property
    def calibration(self) -> dict[str, Any]:
        """configs/calibration.json, or {} if the bundle has none."""
        return _read_optional(self.directory / "configs/calibration.json")

    @property
    def evaluated(self) -> bool:
        """Whether the calls were fitted and judged on labelled patients; not so for an imported model."""
        if self.task == "segmentation":
            return bool(self.structures)  # its thresholds come from pictures that were held out
        return int(self.calibration.get("format", 1)) > 1

    @cached_property
    def gate(self) -> dict[str, Any]:
        """configs/gate.json, or {} if the bundle has none."""
        return _read_optional(self.directory / "configs/gate.json")

    @cached_property
    def structures(self) -> dict[str, Any]:
        """configs/structures.json, or {} if the bundle has none."""
        return _read_optional(self.directory / "configs/structures.json")

    @cached_property
    def location(self) -> dict[str, Any]:
        """configs/location.json, or {} if the bundle has none."""
        return _read_optional(self.directory / "configs/location.json")


def load_bundle(directory: Path | str, pinned: str | None = None) -> Bundle:
    """Read and check the bundle in `directory`.

    `pinned` is the digest ("sha256:...") that the administrator expects. The package itself pins the bundle that it
    ships. A bundle that is not pinned may name listed classes only, and has `pinned=False`: the caller decides whether
    it may run.

    Raises BundleNotFound, BundleForbidden, DigestMismatch, and BundleError if the metadata is invalid.
    """
    directory = Path(directory)
    if not (directory / "configs/metadata.json").is_file():
        mlflow = "; `hilum model import` copies a bundle out of MLflow" if directory.parts[:1] == ("models:",) else ""
        raise BundleNotFound(f"{directory} is not a bundle: it has no configs/metadata.json{mlflow}")
    try:
        for path in plain_files(directory):
            ensure_safe(path)
    except UnsafeFile as fault:
        raise BundleForbidden(str(fault)) from fault
    actual = digest(directory)
    expected = pinned or package_pin(directory)
    if expected and expected.lower().removeprefix("sha256:") != actual.removeprefix("sha256:"):
        raise DigestMismatch(f"the bundle {directory} has the digest {actual}, but {expected} is pinned: it was "
                             "changed after it was pinned, or is a different bundle")  # fmt: skip
    bundle = _from_metadata(directory, actual, bool(expected))
    bundle.weights, bundle.inference  # noqa: B018  (to report missing or forbidden parts here, not at the first image)
    return bundle


def is_ours(directory: Path) -> bool:
    """Whether the metadata of the MONAI bundle in `directory` has a "hilum" object. Raises BundleError."""
    return "hilum" in _read_optional(directory / "configs/metadata.json")


def default_bundle() -> Bundle:
    """Load the bundle that the package ships. Raises what `load_bundle` raises."""
    return load_bundle(DEFAULT)


def package_pin(directory: Path) -> str | None:
    """Return the digest that the package pins for its own bundle in `directory`; None for any other directory."""
    directory = directory.resolve()
    if directory.parent != PACKAGED or not PINS.is_file():
        return None
    pin: str | None = _read_json(PINS).get(directory.name)
    return pin


def pin_packaged(name: str = "default") -> str:
    """Write the present digest of the packaged bundle `name` into the package's pins, and return it."""
    pins = _read_optional(PINS) | {name: digest(PACKAGED / name)}
    PINS.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n")
    return str(pins[name])


def digest(directory: Path) -> str:
    """Return "sha256:..." over the files of a bundle, as this module's docstring defines it.

    Raises BundleForbidden on a link, a pipe or a device, and BundleError if a file changes meanwhile.
    """
    state = sha256()
    try:
        for path in plain_files(directory):
            name, size = path.relative_to(directory).as_posix(), path.stat().st_size
            if name.startswith("docs/"):
                continue
            state.update(name.encode() + b"\0" + size.to_bytes(8, "big"))
            read = 0
            for block in blocks(path):
                state.update(block)
                read += len(block)
            if read != size:
                raise BundleError(f"{path} changed while it was read")
    except UnsafeFile as fault:
        raise BundleForbidden(str(fault)) from fault
    return f"sha256:{state.hexdigest()}"


def _from_metadata(directory: Path, actual: str, pinned: bool) -> Bundle:
    metadata = _read_json(directory / "configs/metadata.json")
    ours = metadata.get("hilum")
    if not isinstance(ours, dict):
        raise BundleError(f"{directory}/configs/metadata.json has no \"hilum\" object (labels, trained, input_size): "
                          "`hilum model import` turns a MONAI bundle into one")  # fmt: skip
    try:
        rows, columns = ours["input_size"]
        bundle = Bundle(
            directory=directory,
            name=str(metadata.get("name") or directory.name),
            version=str(metadata.get("version", "0")),
            digest=actual,
            pinned=pinned,
            trained=bool(ours["trained"]),
            labels=tuple(map(str, ours["labels"])),
            outputs=tuple(map(str, ours.get("outputs") or ours["labels"])),
            output_kind=str(ours.get("output", "logits")),
            task=str(ours.get("task", "classification")),
            input_size=(int(rows), int(columns)),
            input_channels=int(ours.get("input_channels", 1)),
            channels=int(ours.get("channels", 1)),
            test_time=tuple(map(str, ours.get("test_time", ()))),
            metadata=metadata,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f'{directory}/configs/metadata.json, "hilum": {type(error).__name__}: {error}') from error
    _check(bundle)
    return bundle


def _check(bundle: Bundle) -> None:
    where = f"{bundle.directory}/configs/metadata.json"
    strays = sorted(set(bundle.labels) - set(bundle.outputs))
    if strays or not bundle.labels or len(set(bundle.labels)) != len(bundle.labels):
        raise BundleError(f"{where}: labels must be distinct and among outputs; these are not: {strays}")
    if bundle.output_kind not in OUTPUT_KINDS:
        raise BundleError(f"{where}: output is {bundle.output_kind!r}, expected one of {', '.join(OUTPUT_KINDS)}")
    if bundle.task not in ("classification", "segmentation"):
        raise BundleError(f"{where}: task is {bundle.task!r}, expected classification or segmentation")
    if bundle.channels not in (1, 3):
        raise BundleError(f"{where}: channels is {bundle.channels}, expected 1 (grey) or 3 (red, green, blue)")
    if bundle.task == "segmentation" and bundle.test_time:
        raise BundleError(f"{where}: test_time is {list(bundle.test_time)}, but a segmentation has none: mirroring "
                          "exchanges right and left")  # fmt: skip
    if set(bundle.test_time) - {"flip"}:
        raise BundleError(f'{where}: test_time is {list(bundle.test_time)}, but only "flip" is supported')
    if min(bundle.input_size) < 1 or max(bundle.input_size) > 4096:
        raise BundleError(f"{where}: input_size is {list(bundle.input_size)}, expected 1 to 4096")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleNotFound(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _read_optional(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.is_file() else {}
