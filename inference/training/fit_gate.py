"""Fitting the gate: frontal chest radiographs of adults against everything that might reach the network by mistake.

A fifth of the patients is kept aside and judged; the threshold is where `passing` of their chests pass, of each source,
so that many easy ones do not outvote a few that were made at the bedside. A kind of real counter-example that is too
rare to be divided is fitted on as a whole, and judged by a gate that never saw its kind.
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
from inference.evaluation.counterexamples import counterexamples, relit, variants
from inference.evaluation.data import fold_of
from inference.evaluation.metrics import auroc
from inference.preprocess import Image, preprocess
from inference.serving.classifier import Classifier
from inference.serving.image_gate import apply_gate, describe, save_gate

Mask = npt.NDArray[np.bool_]
FEATURES = ["statistics", "penultimate"]
EXPECTS = "a frontal chest radiograph of an adult"
PARTS = 5  # one of so many parts of the patients is judged, the others are fitted on
RARE = 50  # pictures below which a kind of counter-example is not divided


class Example(NamedTuple):
    """A picture to fit on, or to judge."""

    picture: Image  # float32 [rows, columns], 0 (black) to 1 (white)
    kind: str  # its source, or what it shows
    patient: str  # all pictures of a patient are on the same side

    @property
    def aside(self) -> bool:
        return fold_of(self.patient, PARTS) == 0


@dataclass(frozen=True)
class Seen:
    """Pictures as the gate sees them; row i of each belongs together."""

    features: Array  # [n, d]
    chest: Mask
    judged: Mask  # the others are fitted on
    plain: Mask  # as it came, not turned, cut or relit
    kinds: npt.NDArray[np.str_]


def fit_gate(
    classifier: Classifier, chests: Sequence[Example], others: Sequence[Example], *, drawn: Sequence[Example] = (),
    passing: float = 0.96, seed: int = 0, per_kind: int = 300,
) -> dict[str, Any]:  # fmt: skip
    """Fit the gate of the classifier's bundle and write it there; returns what it is worth elsewhere.

    chests: frontal chest radiographs of adults; others: real pictures of something else; drawn: chests that shall pass
    too, but that have no part in the threshold. per_kind: made counter-examples of each kind. The shares come with the
    number of pictures: "passed" of each kind of chest, "refused" of each other kind, "refused_unseen" of each rare kind
    by a gate that was fitted without it.
    """
    seen = _seen(classifier, _examples(chests, others, drawn, np.random.default_rng(seed), per_kind))
    real = seen.judged & seen.chest & ~np.isin(seen.kinds, [example.kind for example in drawn])
    tensors, threshold, scores = _fitted(seen, seen.judged, real, passing, seed)
    config = {"features": FEATURES, "threshold": round(threshold, 6), "expects": EXPECTS}
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
    """The kinds that are not divided, and how often each of their pictures is varied to count as the others do."""
    kinds, counts = np.unique([example.kind for example in others], return_counts=True)
    return {str(kind): RARE // int(n) for kind, n in zip(kinds, counts, strict=True) if n < RARE}


def _examples(
    chests: Sequence[Example], others: Sequence[Example], drawn: Sequence[Example], rng: np.random.Generator,
    per_kind: int,
) -> Iterator[tuple[Image, bool, bool, bool, str]]:  # fmt: skip
    """Picture, and of `Seen` chest, judged, plain, kind. What is fitted on comes as other stations show it, too."""
    for picture, kind, _, aside in ((*example, example.aside) for example in (*chests, *drawn)):
        yield picture, True, aside, True, kind
        if not aside:
            yield relit(picture, rng), True, False, False, kind
    rare = _rare(others)
    for picture, kind, _, aside in ((*example, example.aside) for example in others):
        judged = aside and kind not in rare
        yield picture, False, judged, True, kind
        for _ in range(0 if judged else rare.get(kind, 1)):
            yield from ((view, False, False, False, kind) for view in variants(picture, rng))
    sources = [*chests, *drawn]
    for kind, i, picture in counterexamples([example.picture for example in sources], rng, per_kind):
        yield picture, False, sources[i].aside, True, kind


def _seen(classifier: Classifier, examples: Iterator[tuple[Image, bool, bool, bool, str]], size: int = 128) -> Seen:
    features, rows, batch = [], [], []
    for picture, *row in examples:
        batch.append(preprocess(classifier.transform, picture))
        rows.append(row)
        if len(batch) == size:
            features.append(_features(classifier, np.stack(batch)))
            batch = []
    if batch:
        features.append(_features(classifier, np.stack(batch)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Seen(np.concatenate(features), *columns)


def _features(classifier: Classifier, batch: Array) -> Array:
    return describe(FEATURES, batch, classifier.engine.run(batch))  # of the pictures as they are: no mirroring


def _fitted(
    seen: Seen, left_out: Mask, real: Mask, passing: float, seed: int
) -> tuple[dict[str, Array], float, Array]:  # fmt: skip
    """A gate that has not seen the rows `left_out`, its threshold on the chests `real`, and everybody's scores."""
    tensors = _fit(seen.features[~left_out], seen.chest[~left_out], seed)
    scores = apply_gate(tensors, seen.features, np.zeros((len(seen.features), 0), np.float32))
    sources = [real & (seen.kinds == kind) for kind in np.unique(seen.kinds[real])]
    return tensors, min(float(np.quantile(scores[source], 1 - passing)) for source in sources), scores


def _fit(features: Array, chest: Mask, seed: int, hidden: int = 32) -> dict[str, Array]:
    """A small network with one hidden layer; both classes weigh the same."""
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
    """For each kind among `rows`: how many pictures, and the share of hits."""
    return {str(kind): {"pictures": int((rows & (kinds == kind)).sum()),
                        "share": round(float(hits[rows & (kinds == kind)].mean()), 4)}
            for kind in np.unique(kinds[rows])}  # fmt: skip
