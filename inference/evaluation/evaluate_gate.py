"""Evaluating a bundle's gate: the evaluated chests against counter-examples made from them, and other pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import Array
from inference.evaluation.counterexamples import counterexamples
from inference.evaluation.data import Table, pictures
from inference.evaluation.metrics import auroc, bootstrap, interval, roc, thinned
from inference.pictures import display_values
from inference.preprocess import Image, preprocess_all
from inference.serving.classifier import Classifier

ADULT = 18  # years; patients who are known to be younger are left out
SOURCES = 300  # number of chests from which counter-examples are made
PER_KIND = 100  # counter-examples of each kind


def gate_figures(
    classifier: Classifier, table: Table, scores: Array, others: Path | None = None, rounds: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Return the share of adults' chests that passes, the share of each other kind that is refused, and the ROC.

    `scores` are the gate's scores for the rows of `table`. `others` is a folder of PNG and JPEG files that show
    something else. Intervals are by bootstrap over patients; a counter-example belongs to the patient from whose
    picture it was made. Without a gate, or without adults, only the share that passes is returned.
    """
    threshold = classifier.gate.threshold
    adults = np.flatnonzero(~(np.array([row.age for row in table.rows]) < ADULT))
    chests, patients = scores[adults], table.patients[adults]
    result = {"pictures": len(chests), "passed": float((chests >= threshold).mean()), "threshold": threshold}
    if not classifier.gate.config or not len(chests):
        return result
    kinds, owners, refusable = _other_pictures(classifier, table.take(adults), others, np.random.default_rng(seed))
    every, chest = np.concatenate([chests, refusable]), np.repeat([1.0, 0.0], [len(chests), len(refusable)])
    samples = bootstrap(lambda rows: auroc(every[rows], chest[rows]), np.concatenate([patients, owners]), rounds)
    refused = {str(kind): {"pictures": int((kinds == kind).sum()),
                           "share": float((refusable[kinds == kind] < threshold).mean())}
               for kind in np.unique(kinds)}  # fmt: skip
    return result | {"auroc": auroc(every, chest), "auroc_interval": interval(samples), "refused": refused,
                     "roc": thinned(*roc(every, chest))}  # fmt: skip


def _other_pictures(
    classifier: Classifier, chests: Table, folder: Path | None, rng: np.random.Generator
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_], Array]:
    """Return kind, patient and score of each counter-example and each other picture."""
    sources = chests.take(rng.permutation(len(chests.rows))[:SOURCES])
    made = list(counterexamples(list(pictures(sources)), rng, PER_KIND))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if folder else []
    kinds = [kind for kind, _, _ in made] + ["other pictures"] * len(files)
    owners = [str(sources.patients[i]) for _, i, _ in made] + [f"other {path.stem}" for path in files]
    found = [_scores(classifier, [picture for _, _, picture in made])]
    for i in range(0, len(files), 64):
        found.append(_scores(classifier, [display_values(p.read_bytes(), p.name) for p in files[i : i + 64]]))
    return np.array(kinds), np.array(owners), np.concatenate(found)


def _scores(classifier: Classifier, images: Sequence[Image]) -> Array:
    parts = [preprocess_all(classifier.transform, images[i : i + 64]) for i in range(0, len(images), 64)]
    return np.concatenate([classifier.gate.scores(part, classifier.run(part)) for part in parts])
