"""Writing a bundle: metadata, configuration, weights, and the golden input with its expected answer."""

from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from inference import golden
from inference.arrays import Array
from inference.bundle import Bundle, load_bundle
from inference.files.strict_json import strict_json
from inference.preprocess import build, preprocess_all
from inference.probability import sigmoid
from inference.serving.engines import open_engine
from inference.serving.segmenter import open_model
from inference.workflow.ids import described, workflow

#: The fourteen labels of ChestX-ray14 (Wang et al., CVPR 2017), in the order of the outputs of published DenseNets such
#: as CheXNet. `evaluation.data.FINDINGS` holds the same labels in the order of the manifests. Both orders are file
#: formats and must not change.
LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


def base_metadata(
    name: str, version: str, description: str, labels: tuple[str, ...], size: int, trained: bool, channels: int = 1
) -> dict[str, Any]:
    """Return the content of metadata.json in MONAI's schema, with the "hilum" object (see inference/bundle.py)."""
    channel_def = {str(i): label for i, label in enumerate(labels)}
    picture = {"type": "image", "format": "magnitude", "modality": "CR/DX", "num_channels": channels,
               "spatial_shape": [size, size], "dtype": "float32", "value_range": [], "is_patch_data": False,
               "channel_def": {"0": "image"}}  # fmt: skip
    answer = {"type": "probabilities", "format": "classes", "num_channels": len(labels), "dtype": "float32",
              "spatial_shape": [], "value_range": [], "is_patch_data": False, "channel_def": channel_def}  # fmt: skip
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
                  "meta_schema_20240725.json",
        "name": name, "version": version, "description": description, "task": "Chest radiograph classification",
        "changelog": {version: "made"}, "monai_version": installed("monai"), "pytorch_version": installed("torch"),
        "numpy_version": installed("numpy"),
        "required_packages_version": {}, "authors": "hilum", "copyright": "", "intended_use": "No medical device.",
        "network_data_format": {"inputs": {"image": picture}, "outputs": {"pred": answer}},
        "hilum": {"labels": list(labels), "trained": trained, "input_size": [size, size], "input_channels": channels},
    }  # fmt: skip


def write_bundle(
    directory: Path, metadata: dict[str, Any], inference: dict[str, Any], state: dict[str, torch.Tensor] | None,
    calibration: dict[str, Any] | None = None, structures: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write the files of a bundle, and the answer to its golden input.

    What MONAI's own tools need is added to a classification, unless the network is an ONNX file, which they do not run.
    Pass None as `state` if the weights are already in `directory`. Raises what `load_bundle` and `open_model` raise.
    """
    for folder in ("configs", "models", "docs"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    if structures is None:
        inference = inference | (workflow(metadata) if "network_def" in inference else {})
        metadata = described(metadata)
    parts = {"metadata": metadata, "inference": inference, "calibration": calibration,
             "structures": structures}  # fmt: skip
    for name, content in parts.items():
        if content is not None:
            (directory / f"configs/{name}.json").write_text(strict_json(content))
    if state is not None:
        save_file({name: t.contiguous() for name, t in state.items()}, directory / "models/model.safetensors")
    write_golden(directory)


def write_golden(directory: Path, tolerance: float = golden.TOLERANCE) -> None:
    """Write, or replace, the golden input and the float32 answer of the bundle in `directory` to it.

    Call this after everything else in the bundle has been written.
    """
    golden.write_files(directory, {}, tolerance)
    bundle = load_bundle(directory)
    onnx = bundle.weights.suffix == ".onnx"
    model = open_model(bundle, "openvino" if onnx else "torch", "cpu", precision="f32")
    probabilities = sigmoid(model.golden_logits()[0])
    named = {name: round(float(p), 6) for name, p in zip(bundle.outputs, probabilities, strict=True) if name}
    golden.write_files(directory, named, tolerance)


def network_answers(bundle: Bundle, pictures: Sequence[Array], factors: Sequence[float]) -> tuple[Array, Array]:
    """Return what the network itself gives for pictures (display values), before hilum makes anything of it.

    The first result [n, outputs] is for the pictures, preprocessed; the second [n x factors, outputs] for the same
    inputs times each of `factors`. Everything is computed in float32 on the CPU.
    """
    engine = open_engine(bundle, "openvino" if bundle.weights.suffix == ".onnx" else "torch", "cpu", 1, "f32")
    batch = preprocess_all(build(bundle), pictures)
    return engine.run(batch).logits, np.concatenate([engine.run(batch * np.float32(f)).logits for f in factors])
