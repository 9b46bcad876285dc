"""Fitting the gate: frontal chest radiographs of adults against everything that might reach the network by mistake.

A fifth of the patients is held out, and the gate is judged on them. The threshold is chosen so that the share `passing`
of their chests passes, from each source separately, so that many easy chests do not outweigh a few that were taken at
the bedside. A kind of real counter-example that is too rare to be divided is used for fitting as a whole, and judged by
another gate that was fitted without this kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.arrays import Array
from inference.errors import DataError
from inference.evaluation.counterexamples import AVERAGED, counterexamples, relit, variants
from inference.evaluation.data import fold_of
from inference.evaluation.metrics import auroc
from inference.preprocess import Image, preprocess
from inference.probability import log_odds, sigmoid
from inference.serving.classifier import Classifier
from inference.serving.image_gate import JUDGES, apply_gate, describe, save_gate

Mask = npt.NDArray[np.bool_]
#: What each of the gate's networks sees: `image_gate.JUDGES`.
FEATURES = {
    "features": ["statistics", "penultimate"],
    "second": ["statistics", "texture"],  # what was made with a picture shows in them, whatever the classifier sees
    "third": ["statistics", "texture", "penultimate"],  # fitted to chests and means of two chests alone
}
HIDDEN = {"features": 32, "second": 32, "third": 8}  # units; the third sees most, and a bundle is to stay small
THIRD_MARGIN = 4.0  # in log-odds: it refuses what is this far below every judged chest, because stations differ
EXPECTS = "a frontal chest radiograph of an adult"
PARTS = 5  # folds of the patients: one is held out and judged, the others are used for fitting
AVERAGED_EACH = 2  # means of two chests that are made of each chest: they are the hardest to tell
RARE = 50  # a kind of counter-example with fewer pictures is not divided


class Example(NamedTuple):
    """A picture that is used for fitting, or held out."""

    picture: Image  # float32 [rows, columns], 0 (black) to 1 (white)
    kind: str  # its source, or what it shows
    patient: str  # either all pictures of a patient are held out, or none

    @property
    def held_out(self) -> bool:
        """Whether the patient belongs to the fold that is judged."""
        return fold_of(self.patient, PARTS) == 0


@dataclass(frozen=True)
class Seen:
    """Pictures as the gate sees them. Row i of each array belongs to the same picture."""

    features: dict[str, Array]  # [n, d] for each of the gate's networks
    chest: Mask
    judged: Mask  # the others are used for fitting
    plain: Mask  # as it is, not turned, cut or relit
    kinds: npt.NDArray[np.str_]


def fit_gate(
    classifier: Classifier, chests: Sequence[Example], others: Sequence[Example], *, drawn: Sequence[Example] = (),
    passing: float = 0.96, seed: int = 0, per_kind: int = 300, expects: str = EXPECTS,
) -> dict[str, Any]:  # fmt: skip
    """Fit the gate of the classifier's bundle, write it there, and return how good it is on held-out pictures.

    `chests` are frontal chest radiographs of adults, `others` real pictures of something else, and `drawn` chests that
    should pass too but do not influence the threshold; `expects` says what passes. `per_kind` counter-examples of each
    kind are made from the chests. The result holds shares, each with the number of pictures: "passed" for each kind of
    chest, "refused" for each other kind, and "refused_unseen" for each rare kind, by a gate that was fitted without it.
    Raises DataError if there are no chests to judge by.
    """
    if not any(example.held_out for example in chests) or all(example.held_out for example in chests):
        raise DataError(f"{len(chests)} frontal chests were found, expected those of several patients: it is fitted to "
                        "four fifths of them and judged on the others")  # fmt: skip
    seen = _seen(classifier, _examples(chests, others, drawn, np.random.default_rng(seed), per_kind))
    real = seen.judged & seen.chest & ~np.isin(seen.kinds, [example.kind for example in drawn])
    tensors, threshold, scores = _fitted(seen, seen.judged, real, passing, seed)
    config = {**FEATURES, "threshold": round(threshold, 6), "expects": expects}
    save_gate(tensors, classifier.bundle.directory, config)
    unseen: dict[str, dict[str, float]] = {}
    for kind in sorted(_rare(others)):
        _, least, again = _fitted(seen, seen.judged | (seen.kinds == kind), real, passing, seed)
        unseen |= _shares(again < least, seen.kinds, seen.plain & (seen.kinds == kind))
    both = real | (seen.judged & ~seen.chest)
    return {
        "auroc": auroc(scores[both], seen.chest[both].astype(np.float32)), "threshold": threshold,
        "passed": _shares(scores >= threshold, seen.kinds, seen.judged & seen.chest),
        "refused": _shares(scores < threshold, seen.kinds, seen.judged & ~seen.chest), "refused_unseen": unseen,
    }  # fmt: skip


def _rare(others: Sequence[Example]) -> dict[str, int]:
    """Return the kinds that are not divided, and how often each picture of them is varied to balance their weight."""
    kinds, counts = np.unique([example.kind for example in others], return_counts=True)
    return {str(kind): RARE // int(n) for kind, n in zip(kinds, counts, strict=True) if n < RARE}


def _examples(
    chests: Sequence[Example], others: Sequence[Example], drawn: Sequence[Example], rng: np.random.Generator,
    per_kind: int,
) -> Iterator[tuple[Image, bool, bool, bool, str]]:  # fmt: skip
    """Yield a picture, then the values of `Seen`: chest, judged, plain, kind.

    Pictures that are used for fitting are also yielded as other stations might show them.
    """
    for picture, kind, _, held_out in ((*example, example.held_out) for example in (*chests, *drawn)):
        yield picture, True, held_out, True, kind
        if not held_out:
            yield relit(picture, rng), True, False, False, kind
    rare = _rare(others)
    for picture, kind, _, held_out in ((*example, example.held_out) for example in others):
        judged = held_out and kind not in rare
        yield picture, False, judged, True, kind
        for _ in range(0 if judged else rare.get(kind, 1)):
            yield from ((view, False, False, False, kind) for view in variants(picture, rng))
    sources = [*chests, *drawn]
    sides = [example.held_out for example in sources]
    plain = [example.picture for example in sources]
    for kind, i, picture in counterexamples(plain, rng, per_kind, sides, AVERAGED_EACH * len(plain)):
        yield picture, False, sources[i].held_out, True, kind


def _seen(classifier: Classifier, examples: Iterator[tuple[Image, bool, bool, bool, str]], size: int = 128) -> Seen:
    features: list[dict[str, Array]] = []
    rows, batch = [], []
    for picture, *row in examples:
        batch.append(preprocess(classifier.transform, picture))
        rows.append(row)
        if len(batch) == size:
            features.append(_features(classifier, np.stack(batch)))
            batch = []
    if batch:
        features.append(_features(classifier, np.stack(batch)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Seen({judge: np.concatenate([part[judge] for part in features]) for judge in FEATURES}, *columns)


def _features(classifier: Classifier, batch: Array) -> dict[str, Array]:
    outputs = classifier.engine.run(batch)  # of the pictures as they are, without mirroring
    return {judge: describe(names, batch, outputs) for judge, names in FEATURES.items()}


def _fitted(
    seen: Seen, left_out: Mask, real: Mask, passing: float, seed: int
) -> tuple[dict[str, Array], float, Array]:  # fmt: skip
    """Return a gate that was fitted without the rows `left_out`, its threshold on the chests `real`, and all scores."""
    joined: dict[str, Array] = {}
    found: list[Array] = []
    for judge, prefix in JUDGES.items():
        features = seen.features[judge]
        rows = ~left_out & ((seen.chest | (seen.kinds == AVERAGED)) if judge == "third" else True)
        tensors = _fit(features[rows], seen.chest[rows], seed, HIDDEN[judge])
        scores = _scores(tensors, features)
        if found:  # one threshold is for all: there the second network alone lets as many chests pass as the first
            least = _least(scores, seen, real, 1.0 if judge == "third" else passing)
            if judge == "third":
                least = float(sigmoid(log_odds(np.array([least])) - THIRD_MARGIN)[0])
            tensors = moved(tensors, least, _least(found[0], seen, real, passing))
            scores = _scores(tensors, features)
        joined |= {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
        found.append(scores)
    lowest = np.minimum.reduce(found)
    return joined, _least(lowest, seen, real, passing), lowest


def _scores(tensors: dict[str, Array], features: Array) -> Array:
    return apply_gate(tensors, features, np.zeros((len(features), 0), np.float32))


def _least(scores: Array, seen: Seen, real: Mask, passing: float) -> float:
    """Return the threshold that the share `passing` of each source among the chests `real` reaches."""
    sources = [real & (seen.kinds == kind) for kind in np.unique(seen.kinds[real])]
    return min(float(np.quantile(scores[source], 1 - passing)) for source in sources)


def moved(tensors: dict[str, Array], threshold: float, wanted: float) -> dict[str, Array]:
    """Return a gate whose score is `wanted` where that of `tensors` is `threshold`, in the same order elsewhere."""
    shift = log_odds(np.array([wanted])) - log_odds(np.array([threshold]))
    return tensors | {"bias1": np.asarray(tensors["bias1"] + shift, np.float32)}


def _fit(features: Array, chest: Mask, seed: int, hidden: int) -> dict[str, Array]:
    """Fit a small network with one hidden layer. Both classes have the same weight in the loss."""
    torch.manual_seed(seed)
    mean, scale = features.mean(0), np.maximum(features.std(0), 1e-3)
    z = torch.from_numpy(np.clip((features - mean) / scale, -10, 10))
    y = torch.from_numpy(chest.astype(np.float32))
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    network = nn.Sequential(nn.Linear(z.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(15):
        for rows in torch.randperm(len(z)).split(256):  # type: ignore[no-untyped-call]
            noisy = z[rows] + 0.1 * torch.randn_like(z[rows])
            loss = F.binary_cross_entropy_with_logits(network(noisy)[:, 0], y[rows], weight[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    first, last = network[0], network[2]
    layers = {"weight0": first.weight, "bias0": first.bias, "weight1": last.weight, "bias1": last.bias}
    tensors = {name: np.asarray(cast(Tensor, t).detach().numpy(), np.float32) for name, t in layers.items()}
    return tensors | {"mean": np.asarray(mean, np.float32), "scale": np.asarray(scale, np.float32)}


def _shares(hits: Mask, kinds: npt.NDArray[np.str_], rows: Mask) -> dict[str, dict[str, float]]:
    """Return for each kind among `rows` the number of pictures and the share of `hits`."""
    return {str(kind): {"pictures": int((rows & (kinds == kind)).sum()),
                        "share": round(float(hits[rows & (kinds == kind)].mean()), 4)}
            for kind in np.unique(kinds[rows])}  # fmt: skip
