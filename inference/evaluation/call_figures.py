"""How often the calls of a model are right, and how often they disturb a reader over an image without a finding."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import Array, FloatArray
from inference.evaluation.metrics import bootstrap, interval, thinned

Flags = npt.NDArray[np.bool_]
#: Of the images without a finding, the share with a call; of the calls, the share that is right; of the findings, the
#: share that is called; of the images with a finding, the share with a right call.
POOLED = ("false_call_share", "ppv", "sensitivity", "helped_share")


def call_figures(
    above: Flags, targets: Array, sick: Array, patients: Sequence[Any] | npt.NDArray[Any], rounds: int = 200,
    weights: FloatArray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the figures of `POOLED` over all findings, each with its interval by patient, and their numbers.

    With `weights` [n], images count in the shares as often as these say.

    `above` and `targets` are [n, findings], over all findings with a label, assessed or not; `sick` [n] says whether
    the image has any finding. A figure whose denominator is 0 is nan.
    """
    true, judged = above & (targets > 0), above & np.isfinite(targets)  # calls of what is not labelled do not count
    counts = np.column_stack([
        (sick == 0) & above.any(axis=1), sick == 0, true.sum(axis=1), judged.sum(axis=1), np.nansum(targets, axis=1),
        (sick > 0) & true.any(axis=1), sick > 0,
    ]).astype(np.float64)  # fmt: skip
    counts *= 1 if weights is None else weights[:, None]
    values = _pooled(counts.sum(axis=0))
    samples = bootstrap(lambda rows: _pooled(counts[rows].sum(axis=0)), patients, rounds)
    result: dict[str, Any] = {
        "images": len(sick),
        "without_finding": int((sick == 0).sum()),
        "calls": int(judged.sum()),
    }
    for k, name in enumerate(POOLED):
        result |= {name: float(values[k]), f"{name}_interval": interval(samples[:, k])}
    return result


def _pooled(sums: FloatArray) -> FloatArray:
    false, healthy, true, called, positives, helped, sick = sums
    pairs = ((false, healthy), (true, called), (true, positives), (helped, sick))
    return np.array([part / whole if whole else np.nan for part, whole in pairs])


def finding_calls(above: Flags, target: Array) -> dict[str, Any]:
    """Return number, sensitivity, PPV and positive likelihood ratio of the calls of one finding; `above`, `target` [n].

    A figure whose denominator is 0 is nan.
    """
    above, target = above[np.isfinite(target)], target[np.isfinite(target)]
    positive = target > 0
    true, false = int((above & positive).sum()), int((above & ~positive).sum())
    sensitivity = true / positive.sum() if positive.any() else np.nan
    alarms = false / (~positive).sum() if not positive.all() else np.nan
    return {
        "positives": int(positive.sum()), "called": true + false, "sensitivity": float(sensitivity),
        "ppv": true / (true + false) if true + false else np.nan,
        "lr_plus": float(sensitivity / alarms) if alarms else np.nan,
    }  # fmt: skip


def likely_figures(
    named: npt.NDArray[np.int64], targets: Array, patients: Sequence[Any] | npt.NDArray[Any], rounds: int = 200
) -> dict[str, Any]:  # fmt: skip
    """Compare naming a finding for each image with always naming the commonest label of the same images.

    `named` [n] holds a column of `targets` [n, findings] for each image, or -1 for none. Images with -1 do not count.
    """
    rows = np.flatnonzero((named >= 0) & np.isfinite(targets[np.arange(len(named)), named]))
    if not len(rows):
        return {"images": 0}
    right = targets[rows, named[rows]] > 0
    gain = right - np.nan_to_num(targets[rows])[:, int(np.nansum(targets[rows], axis=0).argmax())]
    samples = bootstrap(lambda chosen: float(gain[chosen].mean()), np.asarray(patients)[rows], rounds)
    return {"images": len(rows), "right": float(right.mean()), "commonest_right": float((right - gain).mean()),
            "gain": float(gain.mean()), "gain_interval": interval(samples)}  # fmt: skip


def trade_off(margins: FloatArray, targets: Array, sick: Array) -> list[tuple[float, float]]:
    """Return what other thresholds would give, if all were moved by the same log-odds.

    Each point is (share of the images without a finding with a call, share of the images with a finding with a right
    call). `margins` are [n, findings] in log-odds, minus infinity for a finding that is not assessed.
    """
    false = margins[sick == 0].max(axis=1)
    right = np.where(targets > 0, margins, -np.inf)[sick > 0].max(axis=1)
    if not len(false) or not len(right):
        return []
    cuts = np.unique(np.concatenate([false, right])[np.isfinite(np.concatenate([false, right]))])[::-1]
    x, y = (np.searchsorted(np.sort(-values), -cuts, side="right") / len(values) for values in (false, right))
    return thinned(np.append(0.0, x), np.append(0.0, y))
