"""The network of a bundle in torch, with its three outputs: logits, features and maps."""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import conv2d

from inference.arrays import StateDict
from inference.bundle import Bundle
from inference.errors import BundleError, BundleForbidden, EngineError, WeightsMismatch
from inference.instantiate import instantiated


def build_network(bundle: Bundle) -> nn.Module:
    """Return the bundle's network with its weights, float32 on the CPU, in eval mode.

    Raises BundleError, BundleForbidden (the file holds more than tensors), WeightsMismatch, EngineError (an ONNX file).
    """
    network = define_network(bundle.inference, str(bundle.directory))
    state = read_bundle_state(bundle)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsMismatch(f"{bundle.weights} does not fit the network of configs/inference.json: "
                              f"{str(error)[:400]}") from error  # fmt: skip
    return network.float().eval()


def define_network(inference: dict[str, Any], where: str) -> nn.Module:
    """Return the network that "network_def" of configs/inference.json describes, with random weights.

    `where` names the bundle in error messages. Raises BundleError.
    """
    if "network_def" not in inference:
        raise BundleError(f'{where}/configs/inference.json has no "network_def"')
    try:
        network = instantiated(inference, "network_def")
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"{where}/configs/inference.json, network_def: {error.__cause__ or error}") from error
    if not isinstance(network, nn.Module):
        raise BundleError(
            f"{where}/configs/inference.json: network_def gives a {type(network).__name__}, which is not a network"
        )
    set_swish = getattr(network, "set_swish", None)
    if set_swish is not None:
        set_swish(memory_efficient=False)  # its memory-saving form cannot be traced
    return network


def read_bundle_state(bundle: Bundle) -> StateDict:
    """Return the weights of a bundle. Nothing but tensors is ever unpickled.

    Raises BundleForbidden (the file holds more than tensors), WeightsMismatch (no weights in it), EngineError (ONNX).
    """
    if bundle.weights.suffix == ".safetensors":
        state: StateDict = load_file(bundle.weights)
        return state
    if bundle.weights.suffix == ".onnx":
        raise EngineError(f"{bundle.weights.name} runs in OpenVINO only: set model.engine to openvino or auto")
    try:
        loaded = torch.load(bundle.weights, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleForbidden(f"{bundle.weights} does not load with weights_only=True: it holds more than tensors. "
                              "`hilum model import --trust-pickle` converts such a file.") from error  # fmt: skip
    return as_state(loaded, str(bundle.weights))


def as_state(loaded: Any, where: str) -> StateDict:
    """Return the weights in the content of a checkpoint, whose file `where` names in messages.

    Raises WeightsMismatch.
    """
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsMismatch(f"{where} holds no state dict (tensors by name)")
    return loaded


class Mapped(nn.Module):
    """A network with three outputs: logits [n, k], features [n, c] and class activation maps [n, k, h, w].

    The features are the means of the last feature maps, which are the input of the last, linear layer. A class
    activation map is that layer's weights times the feature maps (Zhou et al. 2016): the map's mean plus the layer's
    bias is the logit. Features and maps are empty (c = 0, k = 0) for a network that does not end in global average
    pooling and one linear layer.
    """

    def __init__(self, network: nn.Module, example: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.kept: list[torch.Tensor] = []
        pool, self.head = _ending(network, example)
        if pool is not None:
            pool.register_forward_pre_hook(lambda _module, inputs: self.kept.append(inputs[0]))

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.kept.clear()
        logits = self.network(batch)
        if self.head is None:
            return logits, logits.new_zeros((len(batch), 0)), logits.new_zeros((len(batch), 0, 1, 1))
        features = self.kept.pop()
        return logits, features.mean((2, 3)), conv2d(features, self.head.weight[:, :, None, None])


class Outlining(nn.Module):
    """A network that gives a map of logits for each structure, with the three outputs of `Mapped`.

    The maps [n, k, h, w] are what the network gives, the logits [n, k] their means; features are empty (c = 0).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        maps = self.network(batch)
        return maps.mean((2, 3)), maps.new_zeros((len(batch), 0)), maps


def mapped(bundle: Bundle) -> Mapped | Outlining:
    """Return the bundle's network with its three outputs, in eval mode.

    Raises what `build_network` raises, and WeightsMismatch if the outputs differ from what metadata.json says.
    """
    example = torch.zeros((1, bundle.input_channels, *bundle.input_size))
    network = build_network(bundle)
    outlines = bundle.task == "segmentation"
    with torch.inference_mode():
        found = network(example).shape
        if len(found) != (4 if outlines else 2) or found[:2] != (1, len(bundle.outputs)):
            expected = (
                f"a map for each of {len(bundle.outputs)} outputs" if outlines else f"{len(bundle.outputs)} outputs"
            )
            raise WeightsMismatch(f"{bundle.directory}: the network gives {list(found)}, but metadata.json names "
                                  f"{expected}")  # fmt: skip
        return Outlining(network).eval() if outlines else Mapped(network, example).eval()


def _ending(network: nn.Module, example: torch.Tensor) -> tuple[nn.Module | None, nn.Linear | None]:
    """Return the pooling and the linear layer in which the network ends; (None, None) if it ends otherwise.

    The network is run once on `example` to find out.
    """
    calls: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls.append((module, inputs[0].clone(), output.clone()))

    kinds = (nn.Linear, nn.AdaptiveAvgPool2d)
    hooks = [module.register_forward_hook(note) for module in network.modules() if isinstance(module, kinds)]
    try:
        with torch.inference_mode():
            logits = network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
    if len(calls) < 2:
        return None, None
    (pool, _, pooled), (head, given, answer) = calls[-2:]
    ends = isinstance(pool, nn.AdaptiveAvgPool2d) and isinstance(head, nn.Linear)
    if ends and torch.equal(pooled.flatten(1), given) and torch.equal(answer, logits):
        return pool, head  # type: ignore[return-value]
    return None, None
