"""Importing: foreign models become bundles with the same probabilities, and no code in a file is run."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, relu

from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import LABELS
from inference.errors import ImportRefused
from inference.importing.importer import Wanted, import_model
from inference.importing.labels import CHEXPERT, XRAYVISION
from inference.importing.unpickle import isolate
from inference.preprocess import preprocess_all
from inference.probability import sigmoid
from inference.serving.classifier import Classifier
from tests.conftest import ROOT
from tests.support.bundles import noise, small_bundle
from tests.support.onnx_writer import SIGMOID, Step, write_classifier

Images = list[np.ndarray]
XRV = Wanted(labels_of="xrv18")


class DenseLayer(nn.Module):
    """As in torchvision.models.densenet._DenseLayer."""

    def __init__(self, channels: int, growth: int, narrow: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(narrow * growth)
        self.conv1 = nn.Conv2d(channels, narrow * growth, 1, bias=False)
        self.conv2 = nn.Conv2d(narrow * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """As in torchvision.models.densenet._Transition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """A DenseNet121 in plain torch, its tensors named as torchvision and TorchXRayVision name them."""

    def __init__(
        self, channels: int, outputs: int, blocks: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32, first: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(channels, first, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(first))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        width = first
        for i, count in enumerate(blocks, 1):
            block = nn.Sequential()
            for j in range(1, count + 1):
                block.add_module(f"denselayer{j}", DenseLayer(width, growth, 4))
                width += growth
            self.features.add_module(f"denseblock{i}", block)
            if i < len(blocks):
                self.features.add_module(f"transition{i}", Transition(width))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(relu(self.features(x)).mean((2, 3)))
        return logits


def random_network(channels: int, outputs: int, seed: int = 0, **sizes: Any) -> DenseNet:
    """A network with random weights and random batch-norm statistics, so that a misplaced tensor is noticed."""
    torch.manual_seed(seed)
    network = DenseNet(channels, outputs, **sizes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.bias) * 0.1
            module.running_var = torch.rand_like(module.bias) + 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


SMALL: dict[str, Any] = {"blocks": (2, 3), "growth": 8, "first": 16}


def probabilities(network: nn.Module, batch: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(sigmoid(network(torch.from_numpy(batch)).numpy()))


def assert_same(
    bundle: Bundle, network: nn.Module, prepare: Callable[[np.ndarray], np.ndarray], images: Images
) -> None:
    """Assert that the bundle gives the network's probabilities within 1e-5, in each engine."""
    expected = probabilities(network, np.stack([prepare(image) for image in images]))
    assert np.abs(expected - expected[0]).max() > 1e-4, "pictures with equal results prove nothing"
    for engine in ("torch", "openvino"):
        answers = Classifier(bundle, engine, "cpu", precision="f32").predict(images)
        for answer, row in zip(answers, expected, strict=True):
            given = [f.probability for f in answer.findings]
            wanted = [row[bundle.outputs.index(label)] for label in bundle.labels]
            assert given == pytest.approx(wanted, abs=1e-5)


def grey(image: np.ndarray) -> np.ndarray:
    """TorchXRayVision's preprocessing of a picture that already has the input size: only its scale is left."""
    return (image[None] * 2 - 1) * np.float32(1024)


def coloured(image: np.ndarray) -> np.ndarray:
    """The input of torchvision's networks: three channels, ImageNet's means and standard deviations."""
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
    spread = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
    return (np.repeat(image[None], 3, axis=0) - mean) / spread


def squares(count: int, side: int = 224) -> Images:
    return [image[:side, :side].copy() for image in noise(count, side + 10, side + 10)]


@pytest.mark.slow
def test_torchxrayvision_densenet121(tmp_path: Path) -> None:
    """18 outputs, one channel in [-1024, 1024]: the same probabilities within 1e-5, with its labels and thresholds."""
    network = random_network(1, 18)
    state = network.state_dict() | {"op_threshs": torch.tensor([0.1, float("nan"), *[0.3] * 16])}
    torch.save(state, tmp_path / "xrv.pt")
    bundle = import_model(tmp_path / "xrv.pt", tmp_path / "out")
    assert bundle.labels == XRAYVISION
    assert bundle.inference["network_def"]["_target_"] == "monai.networks.nets.DenseNet121"
    assert_same(bundle, network, grey, squares(3))
    thresholds = [f.threshold for f in Classifier(bundle, "torch", "cpu").predict(squares(1))[0].findings]
    assert thresholds[:3] == pytest.approx([0.1, 0.5, 0.3])


@pytest.mark.slow
def test_torchvision_densenet121(tmp_path: Path) -> None:
    """14 outputs, three channels, torchvision's naming, as safetensors: the same probabilities within 1e-5."""
    from safetensors.torch import save_file

    network = random_network(3, 14)
    save_file(network.state_dict(), tmp_path / "tv.safetensors")
    bundle = import_model(tmp_path / "tv.safetensors", tmp_path / "out", Wanted(labels_of="nih14"))
    assert bundle.labels == LABELS
    assert_same(bundle, network, coloured, squares(3))


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's names before 2018, with the prefix of CheXNet's wrapper."""
    named = {re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", name): tensor for name, tensor in state.items()}
    return {"module.densenet121." + name.replace("classifier.", "classifier.0."): t for name, t in named.items()}


@pytest.mark.parametrize("naming", [dict, old_names, lambda s: {f"model.{k}": v for k, v in s.items()}])
def test_namings(naming: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], tmp_path: Path) -> None:
    """Prefixes of wrappers, older names of the layers, and DenseNets of any size are understood."""
    network = random_network(1, 18, **SMALL)
    torch.save({"state_dict": naming(network.state_dict())}, tmp_path / "m.pth")
    assert_same(import_model(tmp_path / "m.pth", tmp_path / "out", XRV), network, grey, squares(2))


def test_larger_pictures_are_cropped_and_averaged(tmp_path: Path) -> None:
    """Larger pictures get TorchXRayVision's preprocessing: the middle square, reduced to the input size."""
    network = random_network(1, 18, **SMALL)
    torch.save(network.state_dict(), tmp_path / "m.pt")

    def prepare(image: np.ndarray) -> np.ndarray:
        return grey(image[:, 50:498].reshape(224, 2, 224, 2).mean(axis=(1, 3), dtype=np.float32))

    images = [image[:448, :548].copy() for image in noise(2, 450, 550)]
    assert_same(import_model(tmp_path / "m.pt", tmp_path / "out", XRV), network, prepare, images)


def test_labels_and_thresholds_of_ones_own(tmp_path: Path) -> None:
    """Labels, an output without meaning, thresholds, size and preprocessing can be given."""
    network = random_network(1, 3, **SMALL)
    torch.save(network.state_dict(), tmp_path / "m.pt")
    wanted = Wanted("mine", "3", ["Mass", "", "Nodule"], 64, "standard", {"Nodule": 0.2})
    bundle = import_model(tmp_path / "m.pt", tmp_path / "out", wanted)
    assert (bundle.name, bundle.version, bundle.labels, bundle.trained) == ("mine", "3", ("Mass", "Nodule"), True)

    def prepare(image: np.ndarray) -> np.ndarray:
        return ((image - image.mean()) / image.std())[None]

    assert_same(bundle, network, prepare, squares(2, 64))
    answer = Classifier(bundle, "openvino").predict(squares(1, 64))[0]
    assert [f.threshold for f in answer.findings] == [0.5, 0.2]
    assert Classifier(bundle, "openvino").self_check() < 0.03


class Ran:
    """A pickle that calls something when it is loaded."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def can_isolate() -> bool:
    """Whether a process can be isolated here. It is tried in a child process, because isolation is for good."""
    child = os.fork()
    if not child:
        try:
            isolate()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on this machine, which would notice a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def nobody_called(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


def test_pickled_module_is_refused_unless_trusted(tmp_path: Path, listener: socket.socket) -> None:
    """A whole pickled module is refused; with --trust-pickle its tensors and labels are taken, and nothing is run."""
    network = random_network(1, 18, **SMALL)
    network.pathologies = [f"Thing {i}" for i in range(18)]  # type: ignore[assignment]
    network.extra = [  # type: ignore[assignment]
        Ran(os.mkdir, str(tmp_path / "ran")), Ran(open, str(tmp_path / "ran"), "w"),
        Ran(os.system, f"touch {tmp_path}/ran"), Ran(socket.create_connection, listener.getsockname()),
    ]  # fmt: skip
    torch.save(network, tmp_path / "m.pt")
    with pytest.raises(ImportRefused, match="--trust-pickle"):
        import_model(tmp_path / "m.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if not can_isolate():
        with pytest.raises(ImportRefused, match="give up the network"):
            import_model(tmp_path / "m.pt", tmp_path / "out", Wanted(trust_pickle=True))
        return
    bundle = import_model(tmp_path / "m.pt", tmp_path / "out", Wanted(trust_pickle=True))
    assert bundle.labels[3] == "Thing 3"
    assert not (tmp_path / "ran").exists()
    assert nobody_called(listener)
    assert_same(bundle, network, grey, squares(2))


GULLIBLE = """
import os, sys
from inference.importing import unpickle
unpickle._harmless = lambda module, name: True
for way, source in (pair.split("=") for pair in sys.argv[1:]):
    if not (child := os.fork()):
        unpickle.isolate = getattr(unpickle, way)
        try:
            os._exit(unpickle.main(source, source + ".w", source + ".n"))
        except BaseException as fault:
            print(way, os.path.basename(source), fault, flush=True)
            os._exit(1)
    os.waitpid(child, 0)
"""


def test_what_is_run_all_the_same_reaches_nothing(tmp_path: Path, listener: socket.socket) -> None:
    """If the list of harmless classes failed, there would still be no network and, by the filter, no file written."""
    if not can_isolate():
        pytest.skip("this system lets no process give up the network")
    calls = {
        "connect": Ran(socket.create_connection, listener.getsockname(), 5), "mkdir": Ran(os.mkdir, f"{tmp_path}/ran"),
        "open": Ran(open, f"{tmp_path}/ran", "a"), "unlink": Ran(os.unlink, f"{tmp_path}/kept"),
        "run": Ran(os.execv, "/bin/true", ["true"]), "kill": Ran(os.kill, os.getpid(), 0),
        "pidfd": Ran(os.pidfd_open, os.getpid()),
    }  # fmt: skip
    (tmp_path / "kept").touch()
    for name, call in calls.items():
        torch.save({"a": call}, tmp_path / name)
    ways = [f"leave_network={tmp_path / 'connect'}", *(f"forbid={tmp_path / name}" for name in calls)]
    done = subprocess.run([sys.executable, "-c", GULLIBLE, *ways], cwd=ROOT, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert "Network is unreachable" in said[0]
    assert [line.split()[1] for line in said[1:] if "Operation not permitted" in line] == list(calls)
    assert nobody_called(listener)
    assert (tmp_path / "kept").exists()
    assert not (tmp_path / "ran").exists()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def clipped(low: float, high: float) -> Step:
    return "Clip", [np.array(float(low)), np.array(float(high))], {}


SOFTMAX: Step = ("Softmax", [], {"axis": 1})
ENDINGS: dict[str, tuple[list[Step], Callable[[np.ndarray], np.ndarray]]] = {
    "logits": ([], sigmoid),
    "logits, clipped": ([clipped(-20, 20)], sigmoid),
    "sigmoid": ([SIGMOID], sigmoid),
    "sigmoid, clip": ([SIGMOID, clipped(0, 1)], sigmoid),
    "sigmoid, cast": ([SIGMOID, ("Cast", [], {"to": 10}), ("Cast", [], {"to": 1})], sigmoid),
    "sigmoid, reshape": ([SIGMOID, ("Reshape", [np.array([-1, 3])], {})], sigmoid),
    "sigmoid, identity, flatten": ([SIGMOID, ("Identity", [], {}), ("Flatten", [], {"axis": 1})], sigmoid),
    "sigmoid, unsqueeze, squeeze": (
        [SIGMOID, ("Unsqueeze", [np.array([2])], {}), ("Squeeze", [np.array([2])], {})], sigmoid
    ),
    "softmax": ([SOFTMAX], softmax),
    "softmax, clip": ([SOFTMAX, clipped(0.01, 0.99)], softmax),
}  # fmt: skip


def small_onnx(path: Path, ending: list[Step]) -> np.ndarray:
    """Write a network for three labels with this ending, and return the logits before it for squares(5, 64)."""
    rng = np.random.default_rng(0)
    conv, head, bias = rng.normal(size=(8, 1, 3, 3)) * 1e-3, rng.normal(size=(3, 8)), rng.normal(size=3)
    write_classifier(path, conv, head, bias, 64, ending)
    batch = torch.from_numpy(np.stack([grey(image) for image in squares(5, 64)]))
    maps = relu(torch.conv2d(batch, torch.tensor(conv, dtype=torch.float32), stride=2, padding=1)).mean((2, 3))
    return np.asarray((maps.double() @ torch.tensor(head.T) + torch.tensor(bias)).numpy())


THREE = Wanted(labels=["Mass", "Edema", "Hernia"])


def probabilities_of(bundle: Bundle) -> np.ndarray:
    answers = Classifier(bundle, precision="f32").predict(squares(5, 64))
    return np.array([[f.probability for f in answer.findings] for answer in answers])


@pytest.mark.parametrize("name", ENDINGS)
def test_onnx(name: str, tmp_path: Path) -> None:
    """An ONNX file keeps its input size and its probabilities, whatever it ends in: none gets a second sigmoid."""
    ending, expected = ENDINGS[name]
    logits = small_onnx(tmp_path / "m.onnx", ending)
    bundle = import_model(tmp_path / "m.onnx", tmp_path / "out", THREE)
    assert bundle.input_size == (64, 64)
    assert np.abs(probabilities_of(bundle) - expected(logits)).max() < (1e-3 if "cast" in name else 1e-5)


def test_onnx_whose_end_is_not_understood(tmp_path: Path) -> None:
    """Numbers that always lie from 0 to 1 without a sigmoid in sight are not guessed at: the user is asked."""
    half = ("Mul", [np.array(0.5)], {})
    logits = small_onnx(tmp_path / "m.onnx", [SIGMOID, half])
    with pytest.raises(ImportRefused, match=r"numbers from 0 to 1.*--output probabilities"):
        import_model(tmp_path / "m.onnx", tmp_path / "out", THREE)
    bundle = import_model(tmp_path / "m.onnx", tmp_path / "out", replace(THREE, output="probabilities"))
    assert np.abs(probabilities_of(bundle) - sigmoid(logits) / 2).max() < 1e-5


@pytest.mark.parametrize(
    ("ending", "output", "message"),
    [
        ([SIGMOID], "logits", "ends in a sigmoid or softmax"),
        ([], "probabilities", "which are no probabilities"),
        ([("LogSoftmax", [], {"axis": 1})], "", "LogSoftmax"),
        ([], "sigmoid", "expected one of logits, softmax, probabilities"),
    ],
)
def test_onnx_that_does_not_give_what_is_said(ending: list[Step], output: str, message: str, tmp_path: Path) -> None:
    """What the network gives and what the user says of it must agree."""
    small_onnx(tmp_path / "m.onnx", ending)
    with pytest.raises(ImportRefused, match=message):
        import_model(tmp_path / "m.onnx", tmp_path / "out", replace(THREE, output=output))
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_one_of_n(tmp_path: Path) -> None:
    """With --output softmax, logits become probabilities that sum to one, in each engine."""
    network = random_network(1, 3, **SMALL)
    torch.save(network.state_dict(), tmp_path / "m.pt")
    bundle = import_model(tmp_path / "m.pt", tmp_path / "out", replace(THREE, output="softmax", size=64))
    with torch.inference_mode():
        expected = softmax(network(torch.from_numpy(np.stack([grey(i) for i in squares(5, 64)]))).double().numpy())
    for engine in ("torch", "openvino"):
        answers = Classifier(bundle, engine, "cpu", precision="f32").predict(squares(5, 64))
        given = np.array([[f.probability for f in answer.findings] for answer in answers])
        assert np.abs(given - expected).max() < 1e-5
        assert given.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize(("outputs", "known"), [(14, "nih14 or chexpert14"), (18, "xrv18"), (3, "--labels")])
def test_outputs_without_names(outputs: int, known: str, tmp_path: Path) -> None:
    """The number of outputs does not say which labels they have: they are asked for."""
    torch.save(random_network(1, outputs, **SMALL).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ImportRefused, match=f"{outputs} outputs and 0 labels are named.*{known}"):
        import_model(tmp_path / "m.pt", tmp_path / "out")
    if outputs == 14:
        bundle = import_model(tmp_path / "m.pt", tmp_path / "out", Wanted(labels_of="chexpert14", size=64))
        assert bundle.outputs == CHEXPERT
        assert "Effusion" in bundle.labels


def test_monai_bundle(tmp_path: Path) -> None:
    """A MONAI bundle with dictionary transforms becomes a hilum bundle with the same preprocessing and answers."""
    ours = small_bundle(tmp_path / "source")
    inference = json.loads((ours.directory / "configs/inference.json").read_text())
    inference["preprocessing"] = {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64], "mode": "area"},
        {"_target_": "NormalizeIntensityd", "keys": "image"},
    ]}  # fmt: skip
    inference["network"] = "$@network_def.to('cpu')"
    (ours.directory / "configs/inference.json").write_text(json.dumps(inference))
    metadata = json.loads((ours.directory / "configs/metadata.json").read_text())
    del metadata["hilum"]
    (ours.directory / "configs/metadata.json").write_text(json.dumps(metadata))
    bundle = import_model(ours.directory, tmp_path / "out")
    assert bundle.labels == ours.labels
    again = Classifier(small_bundle(tmp_path / "again"), "torch", "cpu")
    other = Classifier(bundle, "torch", "cpu")
    batches = [preprocess_all(c.transform, noise(2)) for c in (again, other)]
    batches[0] = batches[0].swapaxes(2, 3).copy()  # MONAI's LoadImage gives a picture with x first
    np.testing.assert_allclose(*batches, atol=1e-5)
    batches[1] = batches[0]
    assert np.array_equal(again.run(batches[0]).logits, other.run(batches[1]).logits)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"a": torch.zeros(3)}, "does not hold a DenseNet"), ([1, 2], "no state dict"), (b"not a file", "weights_only")],
)
def test_other_files_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    """Other networks and other files are refused with what was found, and nothing is left behind."""
    path = tmp_path / "m.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ImportRefused, match=message):
        import_model(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


def test_existing_directory_is_left_alone(tmp_path: Path) -> None:
    """An import never writes over anything."""
    bundle = small_bundle(tmp_path / "there")
    with pytest.raises(ImportRefused, match="exists already"):
        import_model(bundle.weights, tmp_path / "there")
    assert load_bundle(tmp_path / "there").digest == bundle.digest
