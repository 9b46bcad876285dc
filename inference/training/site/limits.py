"""What a site's labels need before anything is fitted to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference.serving.operating_points import Point
from inference.training.fit_calls import CallLimits
from inference.training.site.labels import Labels

TOO_FEW = "too few labels"  # how that reason begins


@dataclass(frozen=True)
class SiteLimits:
    """What a site's labels need before anything is fitted to them."""

    positives: int = 30
    negatives: int = 30
    patients: int = 20  # with a positive, and as many with a negative
    quiet: int = 10  # negatives that were not above the threshold: else only what was called was judged
    folds: int = 5
    rounds: int = 1000
    calls: CallLimits = field(default_factory=CallLimits)


def lacking(labels: Labels, points: Mapping[str, Point | None], limits: SiteLimits) -> str:
    """Return why nothing can be fitted to these labels; "" if they are enough."""
    return _too_few(labels, limits) or _one_sided(labels, points, limits)


def _too_few(labels: Labels, limits: SiteLimits) -> str:
    positive = labels.targets > 0
    counts = [(int(rows.sum()), len(set(labels.patients[rows]))) for rows in (positive, ~positive)]
    (present, with_it), (absent, without) = counts
    if present >= limits.positives and absent >= limits.negatives and min(with_it, without) >= limits.patients:
        return ""
    return (f"{TOO_FEW}: {present} positive from {with_it} patients, {absent} negative from {without}; "
            f"{limits.positives} and {limits.negatives} needed, each from {limits.patients}")  # fmt: skip


def _one_sided(labels: Labels, points: Mapping[str, Point | None], limits: SiteLimits) -> str:
    quiet = int(((labels.targets == 0) & ~above(labels, points)).sum())
    if quiet >= limits.quiet:
        return ""
    return (f"only {quiet} negatives were not above the threshold, {limits.quiet} needed: judge images of which "
            "nothing was called, too")  # fmt: skip


def above(labels: Labels, points: Mapping[str, Point | None]) -> Any:
    """Return whether each row is above the bundle's own threshold, bool [n]."""
    edges = {view: point.threshold if point else np.inf for view, point in points.items()}
    return labels.probabilities >= np.array([edges.get(str(view), edges[""]) for view in labels.views])
