"""The classifier: the same probabilities from every engine, refusals with a reason, calibrated calls."""

import json
import shutil
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from config.models import ModelSettings
from inference.bundle import Bundle, load_bundle
from inference.errors import BadImage, BundleError, EngineError, SelfCheckFailed
from inference.networks import build_network
from inference.prediction import Finding, Prediction, most_likely, study_summary
from inference.preprocess import preprocess_all
from inference.probability import log_odds, sigmoid
from inference.serving import image_gate
from inference.serving.calibration import Calibration
from inference.serving.classifier import Classifier
from inference.serving.engines import ENGINES, open_engine
from inference.serving.openvino_engine import OpenVinoEngine
from inference.serving.torch_engine import TorchEngine
from inference.training.fit_calibration import fit_logistic, fit_platt
from tests.support.bundles import LABELS, SMALL, noise, small_bundle
from tests.support.untrained import write_untrained

#: Largest difference of a probability from plain torch float32.
F32, BF16 = 1e-4, 0.03


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(bundle.directory, tmp_path / "copy")
    return tmp_path / "copy"


def configure(directory: Path, file: str, content: dict[str, Any]) -> Bundle:
    (directory / "configs" / file).write_text(json.dumps(content))
    return load_bundle(directory)


def plain_torch(bundle: Bundle, batch: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(sigmoid(build_network(bundle)(torch.from_numpy(batch)).numpy()))


NETWORKS: list[dict[str, Any]] = [
    SMALL,
    {"_target_": "monai.networks.nets.ResNet", "block": "basic", "layers": [1, 1, 1, 1], "spatial_dims": 2,
     "block_inplanes": [8, 16, 24, 32], "n_input_channels": 1, "num_classes": 3},
    {"_target_": "monai.networks.nets.EfficientNetBN", "model_name": "efficientnet-b0", "pretrained": False,
     "spatial_dims": 2, "in_channels": 1, "num_classes": 3},
    {"_target_": "monai.networks.nets.SEResNet50", "layers": [1, 1, 1, 1], "spatial_dims": 2, "in_channels": 1,
     "num_classes": 3},
]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n["_target_"].rpartition(".")[2])
def test_engines_agree_with_plain_torch(network: dict[str, Any], tmp_path: Path) -> None:
    """For each family of networks, both engines give plain torch's probabilities, and maps that fit the logits."""
    bundle = small_bundle(tmp_path / "b", network)
    classifier = Classifier(bundle, "openvino", precision="f32")
    batch = preprocess_all(classifier.transform, noise(6))
    expected = plain_torch(bundle, batch)
    for engine in (classifier.engine, open_engine(bundle, "torch", "cpu")):
        outputs = engine.run(batch)
        assert np.abs(sigmoid(outputs.logits) - expected).max() < F32
        assert outputs.maps.shape[:2] == (6, 3)
        rest = outputs.logits - outputs.maps.mean(axis=(2, 3))  # the last layer's bias, the same for every picture
        assert np.abs(rest - rest[0]).max() < 1e-3
    assert np.abs(expected - expected[0]).max() > 1e-3, "pictures with equal results prove nothing"


def real_pictures(shared: Path, count: int) -> list[np.ndarray]:
    with zipfile.ZipFile(shared / "data/nih128.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        chosen = names[:: len(names) // count][:count]
        files = [Image.open(BytesIO(archive.read(name))).convert("L") for name in chosen]
    return [np.asarray(file, dtype=np.float32) / np.float32(255) for file in files]


def worst_gaps(bundle: Bundle, images: Sequence[np.ndarray]) -> dict[str, float]:
    """The largest difference of a probability from plain torch float32, for each engine."""
    yardstick = TorchEngine(bundle, "cpu")
    engines = [yardstick, OpenVinoEngine(bundle, "cpu", precision="f32"), OpenVinoEngine(bundle, "cpu")]
    batch = preprocess_all(Classifier(bundle, "torch", "cpu").transform, images)
    expected = plain_torch(bundle, batch)
    return {engine.name: float(np.abs(sigmoid(engine.run(batch).logits) - expected).max()) for engine in engines}


@pytest.mark.slow
def test_engines_agree_on_real_radiographs(shared: Path, tmp_path: Path) -> None:
    """DenseNet121 on 24 real radiographs: within 1e-4 of plain torch in float32, within 0.03 in bf16."""
    gaps = worst_gaps(write_untrained(tmp_path / "b"), real_pictures(shared, 24))
    for name, gap in gaps.items():
        assert gap < (BF16 if "bf16" in name else F32), (name, gap)


def test_batches_are_their_pictures(bundle: Bundle) -> None:
    """Pictures of any number and size get their answers in order, and the same answers as each would get alone."""
    classifier = Classifier(bundle, "openvino", precision="f32")
    images = [*noise(5), *noise(2, 200, 120)]
    together = classifier.predict(images)
    alone = [classifier.predict([image])[0] for image in images]
    assert [p.analysed for p in together] == [True] * 7
    for a, b in zip(together, alone, strict=True):
        assert [f.probability for f in a.findings] == pytest.approx([f.probability for f in b.findings], abs=1e-5)
    assert classifier.predict([]) == []


def test_faulty_pictures_are_refused_by_themselves(bundle: Bundle) -> None:
    """A constant picture and one with NaN are refused with a reason; the others in the batch get their answers."""
    classifier = Classifier(bundle, "openvino")
    good, blank, holed = noise(1)[0], np.full((50, 50), 0.5, np.float32), noise(1)[0]
    holed[3, 3] = np.nan
    answers = classifier.predict([blank, good, holed])
    assert [a.analysed for a in answers] == [False, True, False]
    assert answers[0].reason == "every pixel has the same value"
    assert "not finite" in answers[2].reason
    with pytest.raises(BadImage):
        classifier.predict([np.zeros((4, 4), np.uint8)])


def test_engine_is_chosen_and_refused(bundle: Bundle) -> None:
    """auto chooses OpenVINO if there is no GPU; the error about a missing device or engine names it."""
    if not torch.cuda.is_available():
        assert isinstance(open_engine(bundle), OpenVinoEngine)
    with pytest.raises(EngineError, match="it has CPU"):
        open_engine(bundle, "openvino", "npu7")
    with pytest.raises(EngineError, match="no device"):
        open_engine(bundle, "torch", "cuda:77")
    with pytest.raises(EngineError, match="auto, openvino or torch"):
        open_engine(bundle, "tensorflow")


def test_configuration_knows_every_engine() -> None:
    """The setting model.engine takes "auto" and the name of each engine in the table, and nothing else."""
    assert set(get_args(ModelSettings.model_fields["engine"].annotation)) == {"auto", *ENGINES}


def test_cache(bundle: Bundle, tmp_path: Path) -> None:
    """The second start reads the converted network and gives the same answers; a damaged file is reported."""
    image = noise(1)
    first = Classifier(bundle, "openvino", cache=tmp_path).predict(image)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    files = sorted(path.suffix for path in tmp_path.iterdir())
    assert files == [".bin", ".xml"]
    assert Classifier(bundle, "openvino", cache=tmp_path).predict(image) == first
    next(tmp_path.glob("*.xml")).write_text("<net>")
    with pytest.raises(EngineError, match="remove it"):
        Classifier(bundle, "openvino", cache=tmp_path)


def test_golden_input(bundle: Bundle, copy: Path) -> None:
    """The golden input passes in every engine; if the network computes something else, the error names the output."""
    for engine in ("openvino", "torch"):
        assert Classifier(bundle, engine, "cpu").self_check() < BF16
    path = copy / "golden/expected.json"
    expected = json.loads(path.read_text())
    expected["probabilities"]["Mass"] += 0.1
    path.write_text(json.dumps(expected))
    with pytest.raises(SelfCheckFailed, match="Mass"):
        Classifier(load_bundle(copy), "openvino").self_check()


def test_mirrored_pictures_are_averaged(bundle: Bundle, copy: Path) -> None:
    """With test_time "flip" the logits are the mean of the picture's and its mirror's."""
    metadata = json.loads((copy / "configs/metadata.json").read_text())
    metadata["hilum"]["test_time"] = ["flip"]
    flipping = Classifier(configure(copy, "metadata.json", metadata), "openvino", precision="f32")
    plain = Classifier(bundle, "openvino", precision="f32")
    batch = preprocess_all(plain.transform, noise(2))
    expected = (plain.run(batch).logits + plain.run(np.ascontiguousarray(batch[..., ::-1])).logits) / 2
    assert np.allclose(flipping.run(batch).logits, expected, atol=1e-4)


EFFUSION = {"scale": 2.0, "offset": -1.0, "assessed": True,
            "views": {"PA": {"threshold": 0.3, "near": 0.2}, "AP": {"threshold": 0.5, "near": 0.1}}}  # fmt: skip
CALLS: dict[str, Any] = {
    "format": 2,
    "findings": {"Effusion": EFFUSION, "Mass": {"assessed": True, "views": {"PA": {"threshold": 0.6, "near": 0.6}}}},
    "pathology": {"weights": {"Mass": 0.5}, "offset": 0.25, "views": {"PA": {"threshold": 0.4, "near": 0.3}}},
    "most_likely": "probability",
}


def with_calls(directory: Path, **changes: Any) -> Calibration:
    """The calibration of a bundle whose configs/calibration.json is CALLS with these changes."""
    return Calibration(configure(directory, "calibration.json", CALLS | changes))


def test_calibration_is_the_bundles(copy: Path) -> None:
    """Probabilities and the pathology output follow configs/calibration.json."""
    classifier = Classifier(configure(copy, "calibration.json", CALLS), "openvino", precision="f32")
    image = noise(1)
    logits = classifier.run(preprocess_all(classifier.transform, image)).logits[0]
    answer = classifier.predict(image, ["PA"])[0]
    effusion, cardiomegaly, _ = answer.findings
    assert (effusion.probability, effusion.threshold) == (pytest.approx(sigmoid(2 * logits[0] - 1), abs=1e-6), 0.3)
    assert (cardiomegaly.probability, cardiomegaly.call) == (
        pytest.approx(sigmoid(logits[1]), abs=1e-6), "not-assessed",
    )  # fmt: skip
    assert answer.pathology_probability == pytest.approx(sigmoid(0.5 * logits[2] + 0.25), abs=1e-6)
    assert classifier.predict(image)[0].findings[0].threshold == 0.5, "an unknown view takes the stricter threshold"


def test_calibration_that_does_not_fit_is_refused(copy: Path) -> None:
    """Edges in the wrong order, a weight for an unknown output and a later format are refused at the start."""
    with pytest.raises(BundleError, match="Mass"):
        Classifier(configure(copy, "calibration.json", {"findings": {"Mass": {"threshold": 0.5, "band": [0.6, 0.7]}}}))
    bad = {"pathology": {"weights": {"Gout": 1}, "offset": 0, "threshold": 0.5}}
    with pytest.raises(BundleError, match="Gout"):
        Classifier(configure(copy, "calibration.json", bad))
    wrong = {"Effusion": EFFUSION | {"views": {"AP": {"threshold": 0.3, "near": 0.4}}}}
    with pytest.raises(BundleError, match="Effusion, AP"):
        with_calls(copy, findings=wrong)
    with pytest.raises(BundleError, match="a later hilum"):
        with_calls(copy, format=3)
    with pytest.raises(BundleError, match="most_likely"):
        with_calls(copy, most_likely="margin")


@pytest.mark.parametrize(
    ("view", "probability", "expected"),
    [
        ("PA", 0.19, "below"), ("PA", 0.2, "near"), ("PA", 0.3, "above"), ("AP", 0.3, "near"), ("AP", 0.5, "above"),
        ("", 0.3, "near"), ("", 0.19, "below"), ("", 0.5, "above"), ("LL", 0.3, "near"),
    ],
)  # fmt: skip
def test_calls_depend_on_the_view(copy: Path, view: str, probability: float, expected: str) -> None:
    """Each view has its own points; a missing or another view takes the stricter of both."""
    effusion = with_calls(copy).prediction([probability, 0.5, 0.01, 0.01], view).findings[0]
    assert effusion.call == expected
    assert effusion.score is not None
    assert (effusion.score >= 50) == (expected == "above")


def test_a_finding_without_a_point_is_not_assessed(copy: Path) -> None:
    """Where one view has no point, no call is made in it nor in an unknown view; the score is missing too."""
    calls = {view: with_calls(copy).prediction([0.1, 0.5, 0.99, 0.1], view).findings for view in ("PA", "AP", "")}
    assert {view: found[2].call for view, found in calls.items()} == {
        "PA": "above", "AP": "not-assessed", "": "not-assessed",
    }  # fmt: skip
    assert (calls["AP"][2].score, calls["AP"][2].threshold) == (None, None)
    assert {found[1].call for found in calls.values()} == {"not-assessed"}


@pytest.mark.parametrize("view", ["PA", "AP", ""])
def test_findings_never_contradict_any_finding(copy: Path, view: str) -> None:
    """Whenever a finding is above, any finding is above, with no lower a score; below, no finding is near or above."""
    calibration = with_calls(copy)
    seen = set()
    for row in np.random.default_rng(0).random((400, 4)):
        answer = calibration.prediction(row, view)
        calls = {finding.call for finding in answer.findings}
        assert answer.any_finding is not None
        seen.add(answer.any_finding.call)
        if "above" in calls:
            assert answer.pathology is True
        if answer.any_finding.call == "below":
            assert not calls & {"above", "near"}
        assert all((answer.any_finding.score or 0) >= (finding.score or 0) for finding in answer.findings)
        assert (answer.most_likely is not None) == (answer.pathology is True)
    assert seen == {"above", "near", "below"}


def test_the_score_has_the_threshold_at_50(copy: Path) -> None:
    """The score is 100 sigmoid(logit p - logit t), rounded, and never rounded across the threshold."""
    calibration = with_calls(copy)
    for probability in (0.01, 0.2, 0.2999, 0.3, 0.5, 0.99):
        finding = calibration.prediction([probability, 0.5, 0.5, 0.5], "PA").findings[0]
        assert finding.score == pytest.approx(100 * sigmoid(log_odds(probability) - log_odds(0.3)), abs=1)
    assert calibration.prediction([0.2999, 0, 0, 0], "PA").findings[0].score == 49


def test_an_imported_calibration_is_above_or_below(copy: Path) -> None:
    """A bundle of which nobody evaluated the calls has them at its thresholds, in every view, and names none likely."""
    bundle = configure(copy, "calibration.json", {"findings": {"Effusion": {"threshold": 0.2}}})
    assert not bundle.evaluated
    for view in ("PA", "AP", ""):
        answer = Calibration(bundle).prediction([0.2, 0.49, 0.3, 0.3], view)
        assert [finding.call for finding in answer.findings] == ["above", "below", "below"]
        assert (answer.pathology, answer.most_likely) == (True, None)
    assert Calibration(bundle).prediction([0.1, 0.1, 0.1, 0.1], "").pathology is None


def finding(name: str, probability: float, threshold: float) -> Finding:
    margin = float(log_odds(probability) - log_odds(threshold))
    return Finding(name, probability, threshold, "above" if margin >= 0 else "below", margin)


def test_most_likely_follows_the_rule() -> None:
    """By its rule a bundle names the most probable of the findings above, the one with the best score, or none."""
    common, rare = finding("Infiltration", 0.45, 0.4), finding("Hernia", 0.2, 0.02)
    unknown = Finding("Gout", 0.9, None, "not-assessed")
    assert most_likely([common, rare, unknown], "score") == rare
    assert most_likely([common, rare, unknown], "probability") == common
    assert most_likely([finding("Infiltration", 0.35, 0.4), rare], "probability") == rare, "the other is below"
    assert most_likely([common, rare], None) is None
    assert most_likely([unknown], "score") is None


def test_summary_takes_the_strongest() -> None:
    """A study's answer has the strongest result of each finding; images that were not analysed do not count."""
    low, high = (Finding("Any finding", p, 0.5, call, m) for p, call, m in ((0.2, "below", -1.4), (0.7, "above", 0.8)))
    one = Prediction(True, "", low, None, (finding("A", 0.6, 0.7), finding("B", 0.1, 0.5)))
    two = Prediction(True, "", high, None, (finding("A", 0.5, 0.5), finding("B", 0.9, 0.5)))
    both = study_summary([one, Prediction(False, "blank"), two], "probability")
    assert [f.probability for f in both.findings] == [0.5, 0.9], "0.5 is above its threshold, 0.6 was not"
    assert (both.pathology, both.pathology_probability) == (True, 0.7)
    assert both.most_likely is not None
    assert both.most_likely.finding == "B"
    assert study_summary([Prediction(False, "blank"), Prediction(False, "blank")]) == Prediction(False, "blank")


def test_json_object(bundle: Bundle) -> None:
    """The JSON object has the documented keys, for an analysed picture and for a refused one."""
    classifier = Classifier(bundle, "openvino")
    answer = classifier.predict(noise(1))[0].to_json("a.png", classifier.model)
    assert " ".join(answer) == "file analysed pathology pathology_probability most_likely findings model"
    assert [f["finding"] for f in answer["findings"]] == list(LABELS)
    assert set(answer["findings"][0]) == {"finding", "probability", "threshold", "score", "call"}
    assert answer["model"] == {"name": "untrained", "version": "0", "digest": bundle.digest}
    refusal = json.loads(json.dumps(Prediction(False, "blank").to_json("a.png", classifier.model)))
    assert (refusal["analysed"], refusal["reason"]) == (False, "blank")
    assert "findings" not in refusal


def logistic_gate(directory: Path, classifier: Classifier, good: np.ndarray, bad: np.ndarray) -> Bundle:
    """Write a gate into the bundle that was fitted to tell two batches apart."""
    features = np.concatenate(
        [image_gate.describe(["statistics", "penultimate"], b, classifier.run(b)) for b in (good, bad)]
    )
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    targets = np.arange(len(features)) < len(good)
    weights, offset = fit_logistic(np.clip((features - mean) / scale, -10, 10), targets)
    tensors = {"mean": mean, "scale": scale, "weight0": weights[None], "bias0": np.array([offset])}
    image_gate.save_gate(
        tensors, directory, {"features": ["statistics", "penultimate"], "threshold": 0.5, "expects": "noise"}
    )
    return load_bundle(directory)


def test_gate_refuses_what_it_was_fitted_against(bundle: Bundle, copy: Path) -> None:
    """With a gate in the bundle, pictures of the other kind are refused, and the reason states score and threshold."""
    plain = Classifier(bundle, "openvino")
    ramp = np.linspace(0, 1, 90, dtype=np.float32)[:, None] * np.ones((1, 70), np.float32)
    ramps = [np.clip(ramp * k, 0, 1) for k in np.linspace(0.5, 3, 12, dtype=np.float32)]
    good, bad = preprocess_all(plain.transform, noise(12)), preprocess_all(plain.transform, ramps)
    gated = Classifier(logistic_gate(copy, plain, good, bad), "openvino")
    answers = gated.predict([*noise(3, seed=99), ramps[5]])
    assert [a.analysed for a in answers] == [True, True, True, False]
    assert answers[3].reason.startswith("the picture does not look like noise (score 0.")
    assert answers[3].reason.endswith("needs 0.50)")
    assert all(a.analysed for a in plain.predict(ramps)), "without a gate every picture passes"


@pytest.mark.parametrize("refusing", image_gate.JUDGES)
def test_each_network_of_a_gate_can_refuse(copy: Path, refusing: str) -> None:
    """A picture passes only if all three networks let it pass: the lowest score counts, and is stated."""
    tensors, size = {}, image_gate.THUMBNAIL**2 + 21
    for judge, prefix in image_gate.JUDGES.items():
        values = {"mean": np.zeros(size), "scale": np.ones(size), "weight0": np.zeros((1, size)),
                  "bias0": np.array([-1.0 if judge == refusing else 2.0])}  # fmt: skip
        tensors |= {prefix + name: value for name, value in values.items()}
    config = {judge: ["statistics"] for judge in image_gate.JUDGES}
    image_gate.save_gate(tensors, copy, config | {"threshold": 0.5})
    (answer,) = Classifier(load_bundle(copy), "openvino").predict(noise(1))
    assert not answer.analysed
    assert "(score 0.27, needs 0.50)" in answer.reason


def test_gate_of_another_network_is_refused(bundle: Bundle, copy: Path) -> None:
    """A gate that was fitted to other features is refused with the number of features."""
    tensors = {"mean": np.zeros(3), "scale": np.ones(3), "weight0": np.ones((1, 3)), "bias0": np.zeros(1)}
    image_gate.save_gate(tensors, copy, {"features": ["penultimate"], "threshold": 0.5})
    with pytest.raises(BundleError, match="is for 3 features"):
        Classifier(load_bundle(copy), "openvino").predict(noise(1))


def test_statistics_ignore_brightness_and_contrast() -> None:
    """The gate's picture statistics are the same for a darker, flatter copy."""
    picture = np.stack(noise(1))[:, None]
    assert np.allclose(image_gate.statistics(picture), image_gate.statistics(picture * 0.3 + 0.2), atol=2e-3)


# ---- fitting


def drawn(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true probability is sigmoid(2 x - 1), and targets drawn from it."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=count)
    return logits, (rng.random(count) < sigmoid(2 * logits - 1)).astype(float)


def test_platt_finds_the_truth() -> None:
    """Fitting Platt's scaling recovers scale and offset."""
    scale, offset = fit_platt(*drawn())
    assert (scale, offset) == (pytest.approx(2, abs=0.15), pytest.approx(-1, abs=0.15))
