"""A bundle with random weights, for tests and for a first run without a model. It says that it is untrained."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from inference import golden
from inference.bundle import Bundle, load
from inference.calibrate import sigmoid
from inference.engine import Classifier
from inference.networks import define_network
from inference.preprocess import preprocess, standard_preprocessing

#: The fourteen labels of ChestX-ray14 (Wang et al., CVPR 2017).
LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


def densenet121(outputs: int, channels: int = 1) -> dict[str, Any]:
    """The configuration of the field's yardstick."""
    return {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": channels,
            "out_channels": outputs}  # fmt: skip


def write_untrained(
    directory: Path, labels: tuple[str, ...] = LABELS, size: int = 128, network: dict[str, Any] | None = None,
    seed: int = 0,
) -> Bundle:  # fmt: skip
    """Write a bundle with random weights (the same for the same seed) into `directory`, and load it."""
    inference = {"preprocessing": standard_preprocessing(size), "network_def": network or densenet121(len(labels))}
    metadata = base_metadata("untrained", "0", "Random weights: its answers mean nothing.", labels, size, trained=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = _settled(define_network(inference, str(directory)), size).state_dict()
    write_bundle(directory, metadata, inference, state)
    return load(directory)


def base_metadata(
    name: str, version: str, description: str, labels: tuple[str, ...], size: int, trained: bool, channels: int = 1
) -> dict[str, Any]:
    """metadata.json in MONAI's schema, with hilum's part."""
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
        "changelog": {version: "made"}, "monai_version": "1.6.1", "pytorch_version": "2.13.0", "numpy_version": "1.26",
        "required_packages_version": {}, "authors": "hilum", "copyright": "", "intended_use": "No medical device.",
        "network_data_format": {"inputs": {"image": picture}, "outputs": {"pred": answer}},
        "hilum": {"labels": list(labels), "trained": trained, "input_size": [size, size], "input_channels": channels},
    }  # fmt: skip


def write_bundle(
    directory: Path, metadata: dict[str, Any], inference: dict[str, Any], state: dict[str, torch.Tensor] | None,
    calibration: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write a bundle's parts, and its golden input's answer in torch float32. `state` None: the weights lie there."""
    for folder in ("configs", "models", "docs"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    parts = {"metadata": metadata, "inference": inference, "calibration": calibration}
    for name, content in parts.items():
        if content is not None:
            (directory / f"configs/{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    if state is not None:
        save_file({name: t.contiguous() for name, t in state.items()}, directory / "models/model.safetensors")
    write_golden(directory)


def write_golden(directory: Path, tolerance: float = golden.TOLERANCE) -> None:
    """(Re)write the golden input and what the bundle in `directory` answers to it in float32. Call it last."""
    golden.write(directory, {}, tolerance)
    bundle = load(directory)
    onnx = bundle.weights.suffix == ".onnx"
    classifier = Classifier(bundle, "openvino" if onnx else "torch", "cpu", precision="f32")
    batch = preprocess(classifier.transform, golden.read_input(bundle))[None]
    probabilities = sigmoid(classifier.run(batch).logits[0])
    named = {name: round(float(p), 6) for name, p in zip(bundle.outputs, probabilities, strict=True) if name}
    golden.write(directory, named, tolerance)


def _settled(network: nn.Module, size: int) -> nn.Module:
    """Batch norms that saw some noise, so that random weights neither vanish nor explode."""
    channels = next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels
    norms = {m: m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, channels, min(size, 96), min(size, 96)))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    return network.eval()
