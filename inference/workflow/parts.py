"""What `python -m monai.bundle run` is made of: pictures of a folder in, the numbers that hilum's engines give out.

The picture is read, reduced and preprocessed by the functions that serve it in the daemon, so that MONAI's tools see
the same pixels, bit for bit.
"""

# Do not move or rename this module or what is in it: bundles name `inference.workflow.parts` in configs/inference.json.

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from inference.errors import DataError, WeightsMismatch
from inference.pictures import display_values
from inference.preprocess import Transform, preprocess

SUFFIXES = (".png", ".jpg", ".jpeg")


def pictures_in(folder: str) -> list[dict[str, str]]:
    """Return {"image": path} for each PNG and JPEG file in `folder`, in the order of their names.

    Raises DataError if there is none.
    """
    place = Path(folder)
    files = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES) if place.is_dir() else []
    if not files:
        raise DataError(f"{folder} is not a folder with PNG or JPEG files: name one with --dataset_dir")
    return [{"image": str(file)} for file in files]


class Pictures(Dataset[dict[str, Any]]):
    """The network's input for each picture of `data`, which is what `pictures_in` returns.

    An item is {"image": float32 [channels, S, S], "image_meta_dict": {"filename_or_obj": the file's path}}. Reading one
    raises DataError for a file that is no picture.
    """

    def __init__(self, data: Sequence[dict[str, str]], transform: Transform) -> None:
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        file = self.data[index]["image"]
        image = display_values(Path(file).read_bytes(), file)
        given = torch.from_numpy(preprocess(self.transform, image))
        return {"image": given, "image_meta_dict": {"filename_or_obj": file}}


def with_weights(network: nn.Module, weights: str, device: torch.device) -> nn.Module:
    """Return `network` with the tensors of the safetensors file `weights`, float32 on `device`.

    Raises WeightsMismatch.
    """
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise WeightsMismatch(f"{weights} does not fit network_def: {str(error)[:300]}") from error
    return network.float().to(device)


class Mirrored(Inferer):  # type: ignore[misc]
    """The mean of the logits for the pictures and for their mirror images, as a bundle with test_time "flip" asks."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the logits [n, outputs] for pictures [n, channels, S, S]."""
        return (network(inputs, *args, **kwargs) + network(inputs.flip(-1), *args, **kwargs)) / 2
