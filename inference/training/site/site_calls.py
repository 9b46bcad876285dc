"""Deciding which thresholds of a site take the place of a bundle's, view by view.

A threshold is fitted as those of a bundle are (`inference.training.fit_calls`). It is taken only if, on patients that
it was not fitted on, its calls are worth more than the bundle's own, than calling nothing and than calling everything,
each by an interval above zero. A call is worth 1 if it is right, and costs what the limit of the positive predictive
value says if it is wrong: .35 / .65 at the limit .35 (net benefit, Vickers 2006). Together the site's thresholds must
not call more images of which a reader says that nothing is there than the bundle's do, or than its limit lets.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import FloatArray
from inference.prediction import ANY_FINDING
from inference.serving.operating_points import AP, PA, Point
from inference.training.fit_calls import Judged, fit_view
from inference.training.site.crossfit import folds_of, held_out, mean_with_interval
from inference.training.site.labels import Labels
from inference.training.site.limits import SiteLimits, above, lacking

Points = Mapping[str, Mapping[str, Point | None]]


def fit_site_calls(labels: Mapping[str, Labels], points: Points, limits: SiteLimits) -> dict[str, dict[str, Any]]:
    """Return for each finding {"views": the thresholds that are taken, "evidence": what was decided for each view}.

    `points` are the bundle's own. Thresholds are probabilities of the bundle.
    """
    found: dict[str, dict[str, Any]] = {name: {"views": {}, "evidence": {}} for name in labels}
    for view in (PA, AP):
        for name, every in labels.items():
            point, said = _fitted(every.take(_of_view(every, view)), points[name], view, limits)
            found[name]["evidence"][view] = said
            if point:
                found[name]["views"][view] = point
        taken = {name: part["views"][view] for name, part in found.items() if view in part["views"]}
        if taken and (fault := _too_loud(labels.get(ANY_FINDING), taken, points, view, limits)):
            for name in taken:
                del found[name]["views"][view]
                found[name]["evidence"][view] = {"decision": "kept: shipped", "reason": fault}
    return found


def _of_view(labels: Labels, view: str) -> npt.NDArray[np.bool_]:
    """Which rows are of a view; those of unknown view belong to both."""
    return np.asarray((labels.views == view) | ~np.isin(labels.views, (PA, AP)))


def _fitted(
    labels: Labels, own: Mapping[str, Point | None], view: str, limits: SiteLimits
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the threshold of one finding and view, or None, and what was decided."""
    kept: dict[str, Any] = {"decision": "kept: shipped"}
    if lack := lacking(labels, {**own, "": own[view]}, limits):
        return None, kept | {"reason": lack}
    point = _threshold(labels, limits)
    if point is None:
        calls = limits.calls
        return None, kept | {"reason": f"no threshold has a PPV of {calls.ppv} and an LR+ of {calls.lr_plus} for sure"}
    y, p = labels.targets, labels.probabilities

    def calls_of(fit: npt.NDArray[np.bool_], judge: npt.NDArray[np.bool_]) -> Any:
        part = _threshold(labels.take(fit), limits)
        return p[judge] >= (part["threshold"] if part else np.inf)

    called = held_out(folds_of(labels.patients, y, limits.folds), calls_of)
    worth = y - limits.calls.ppv / (1 - limits.calls.ppv) * (1 - y)
    shipped = above(labels, {**own, "": own[view]})
    others = {"shipped": shipped, "calling nothing": np.zeros(len(y)), "calling everything": np.ones(len(y))}
    gains = {name: mean_with_interval((called - other) * worth, labels.patients, limits.rounds)
             for name, other in others.items()}  # fmt: skip
    weak = next((name for name, gain in gains.items() if gain[1] <= 0), "")
    if weak:
        gain = "{:.3f} ({:.3f} to {:.3f})".format(*gains[weak])
        return None, kept | {"gain": gains, "reason": f"its calls are not surely worth more than {weak}: {gain}"}
    reason = f"{point['called']} calls, PPV {point['ppv']:.2f}, sensitivity {point['sensitivity']:.2f}"
    return point, {"decision": f"taken: {point['threshold']:.3f}", "gain": gains, "reason": reason}


def _threshold(labels: Labels, limits: SiteLimits) -> dict[str, Any] | None:
    """Return the point that `fit_view` finds for one finding; images without it stand for those without any."""
    both: FloatArray = np.repeat(labels.probabilities[:, None], 2, axis=1)
    targets = np.repeat(labels.targets[:, None], 2, axis=1).astype(np.float32)
    judged = Judged(("", ""), both, targets, labels.patients, labels.views)
    return fit_view(judged, (True, False), limits.calls)[0]


def _too_loud(
    anything: Labels | None, taken: Mapping[str, dict[str, Any]], points: Points, view: str, limits: SiteLimits
) -> str:
    """Return why these thresholds together call too many images in which nothing is there; "" if they do not."""
    healthy = anything.take(_of_view(anything, view) & (anything.targets == 0)).shipped if anything else ()
    if len(healthy) < limits.negatives:
        return (f"of only {len(healthy)} images a reader says that nothing is there, {limits.negatives} needed to know "
                "how often such an image is called")  # fmt: skip
    own = {name: point.threshold for name, views in points.items() if (point := views[view])}
    site = own | {name: point["threshold"] for name, point in taken.items()}
    before, after = (float(np.mean([any(p.get(name, 0.0) >= edge for name, edge in edges.items()) for p in healthy]))
                     for edges in (own, site))  # fmt: skip
    if after <= max(before, limits.calls.false_calls):
        return ""
    return (f"together the thresholds would call {after:.1%} of the images in which nothing is there; those that ship "
            f"call {before:.1%}")  # fmt: skip
