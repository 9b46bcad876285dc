"""The ids of configs/inference.json and the description in configs/metadata.json that MONAI's own tools need.

hilum itself reads "preprocessing" and "network_def" alone. The others have the names of MONAI's bundle specification,
and refer to those two, so that both run the same network on the same pixels.
"""

from typing import Any

_PARTS = "inference.workflow.parts"


def workflow(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what `python -m monai.bundle run` needs beside "preprocessing" and "network_def".

    `run` writes `output_dir`/predictions.csv: the path of each picture in `dataset_dir`, and a probability for each
    output of the network, as they are before calibration. {} for a bundle whose task is another than classification.
    """
    if metadata["hilum"].get("task", "classification") != "classification":
        return {}
    mirrored = "flip" in metadata["hilum"].get("test_time", ())
    return {
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "dataset_dir": "pictures",
        "output_dir": "eval",  # in the current folder: a file below bundle_root would change the bundle's digest
        "datalist": {"_target_": f"{_PARTS}.pictures_in", "folder": "@dataset_dir"},
        "dataset": {"_target_": f"{_PARTS}.Pictures", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "monai.data.DataLoader", "dataset": "@dataset", "batch_size": 8, "shuffle": False,
                       "num_workers": 0},
        "network": {"_target_": f"{_PARTS}.with_weights", "network": "@network_def", "device": "@device",
                    "weights": "$@bundle_root + '/models/model.safetensors'"},
        "inferer": {"_target_": f"{_PARTS}.Mirrored" if mirrored else "monai.inferers.SimpleInferer"},
        "postprocessing": {"_target_": "monai.transforms.Compose",
                           "transforms": _activation(metadata["hilum"].get("output", "logits"))},
        "handlers": [{"_target_": "monai.handlers.ClassificationSaver", "output_dir": "@output_dir",
                      "batch_transform": "$monai.handlers.from_engine('image_meta_dict')",
                      "output_transform": "$monai.handlers.from_engine('pred')"}],
        "evaluator": {"_target_": "monai.engines.SupervisedEvaluator", "device": "@device",
                      "val_data_loader": "@dataloader", "network": "@network", "inferer": "@inferer",
                      "postprocessing": "@postprocessing", "val_handlers": "@handlers"},
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def _activation(output: str) -> list[dict[str, Any]]:
    """Return the transform that makes probabilities of what the network gives."""
    kind = {"logits": "sigmoid", "softmax": "softmax"}.get(output)
    return [{"_target_": "monai.transforms.Activationsd", "keys": "pred", kind: True}] if kind else []


def described(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return `metadata` with one channel of "pred" for each output of the network, those that are no label included.

    A network may give more than its labels, which "outputs" of the "hilum" object then name.
    """
    outputs = metadata["hilum"].get("outputs") or metadata["hilum"]["labels"]
    formats = metadata["network_data_format"]
    pred = formats["outputs"]["pred"] | {
        "num_channels": len(outputs), "channel_def": {str(i): name for i, name in enumerate(outputs)}
    }  # fmt: skip
    return metadata | {"network_data_format": formats | {"outputs": formats["outputs"] | {"pred": pred}}}
