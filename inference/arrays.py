"""The types in which arrays and weights travel between the modules of this package."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

#: Pictures, features, logits and scores: float32.
Array = npt.NDArray[np.float32]

#: What statistics and fitting take and return: float32 or float64.
FloatArray = npt.NDArray[np.floating[Any]]

#: The weights of a network: each tensor by its name, as `torch.nn.Module.state_dict` returns them.
StateDict = dict[str, torch.Tensor]
