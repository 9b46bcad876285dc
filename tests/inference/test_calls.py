"""Fitting which calls may be made, and judging them: on made-up patients whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from inference.evaluation.call_figures import call_figures, finding_calls, likely_figures, trade_off
from inference.probability import sigmoid
from inference.training.fit_calls import CallLimits, Judged, fit_calls, lowest_point, thresholds

NAMES = ("Clear", "Vague", "Rare", "Pathology")
LIMITS = CallLimits(rounds=60)


def patients(count: int = 1500, seed: int = 0, strength: float = 3.0) -> Judged:
    """Three findings: one that is seen well, one that is not seen, one that is seen but rare; two images a patient.

    An AP image looks sicker than it is.
    """
    rng = np.random.default_rng(seed)
    sick = np.repeat(rng.random((count, 3)) < (0.2, 0.2, 0.004), 2, axis=0)
    ap = rng.random(2 * count) < 0.4
    logits = rng.normal(-2, 1, sick.shape) + sick * (strength, 0.1, strength) + ap[:, None]
    targets = np.column_stack([sick, sick.any(axis=1)]).astype(np.float32)
    any_finding = logits.max(axis=1) + rng.normal(0, 2, len(logits))
    names = np.repeat([f"p{i}" for i in range(count)], 2)
    probabilities = sigmoid(np.column_stack([logits, any_finding]))
    return Judged(NAMES, probabilities, targets, names, np.where(ap, "AP", "PA"))


def test_only_what_is_told_apart_is_assessed() -> None:
    """A finding is assessed if the lower limit of its AUROC is high enough; a point needs enough right calls too."""
    findings = fit_calls(patients(), LIMITS)["findings"]
    assert [findings[name]["assessed"] for name in NAMES[:3]] == [True, False, True]
    assert findings["Vague"]["views"] == {"PA": None, "AP": None}
    assert findings["Rare"]["views"] == {"PA": None, "AP": None}, "six patients are too few to call it"
    assert findings["Clear"]["auroc"][1] >= LIMITS.auroc


def test_thresholds_are_those_of_the_view() -> None:
    """An image that looks sicker in one view needs more there, and each threshold keeps its limits in its view."""
    judged = patients()
    views = fit_calls(judged, LIMITS)["findings"]["Clear"]["views"]
    assert views["AP"]["threshold"] > views["PA"]["threshold"]
    for view, point in views.items():
        assert 0 < point["near"] < point["threshold"] < 1
        rows = judged.views == view
        worth = finding_calls(judged.probabilities[rows, 0] >= point["threshold"], judged.targets[rows, 0])
        assert worth["ppv"] >= LIMITS.ppv
        assert worth["lr_plus"] >= LIMITS.lr_plus
        assert worth["sensitivity"] == pytest.approx(point["sensitivity"], abs=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.01])
def test_healthy_images_are_seldom_called(share: float) -> None:
    """Of the images of a view without a finding, at most the given share has any finding above."""
    judged = patients()
    limits = replace(LIMITS, false_calls=share)
    fitted = fit_calls(judged, limits)
    above = judged.probabilities[:, :-1] >= thresholds(judged, [*fitted["findings"].values(), fitted["pathology"]])
    for view in ("PA", "AP"):
        rows = (judged.views == view) & judged.healthy
        assert above[rows].any(axis=1).mean() <= share
        assert fitted["evidence"]["views"][view]["false_call_share"] <= share


def test_other_patients_keep_the_limits() -> None:
    """Because the limits hold for the lower ends of intervals, calls on patients not used for fitting keep them too."""
    fitted, others = fit_calls(patients(), LIMITS), patients(seed=1)
    above = others.probabilities[:, 0] >= thresholds(others, [*fitted["findings"].values(), fitted["pathology"]])[:, 0]
    worth = finding_calls(above, others.targets[:, 0])
    assert worth["ppv"] >= LIMITS.ppv
    assert worth["lr_plus"] >= LIMITS.lr_plus


def test_no_point_where_no_call_would_be_right() -> None:
    """A finding that the probabilities do not tell apart has no threshold at all."""
    assert np.isinf(lowest_point(patients(strength=0.0), 0, LIMITS))
    assert np.isfinite(lowest_point(patients(), 0, LIMITS))


def test_images_of_unknown_view_count_in_both() -> None:
    """A manifest without views gives the same points for both, and an unknown view takes the stricter one."""
    judged = patients()
    unknown = replace(judged, views=np.full(len(judged.views), ""))
    views = fit_calls(unknown, LIMITS)["findings"]["Clear"]["views"]
    assert views["PA"] == views["AP"]
    rows = [
        {"views": {"PA": {"threshold": 0.2}, "AP": {"threshold": 0.3}}},
        {"views": {"PA": {"threshold": 0.2}, "AP": None}},
    ]
    points = thresholds(unknown, [*rows, *rows])
    assert (set(points[:, 0]), set(points[:, 1])) == ({0.3}, {np.inf})


def test_a_rule_must_beat_the_commonest_label() -> None:
    """The most likely finding is named only where that is right more often than naming the commonest label."""
    assert fit_calls(patients(), LIMITS)["most_likely"] is None, "only one finding is ever called"
    two = patients()
    columns = [0, 0, 2, 3]
    shuffled = np.random.default_rng(3).permutation(len(two.views) // 2)
    order = np.stack([2 * shuffled, 2 * shuffled + 1], axis=1).ravel()
    probabilities, targets = two.probabilities[:, columns].copy(), two.targets[:, columns].copy()
    probabilities[:, 1], targets[:, 1] = two.probabilities[order, 0], two.targets[order, 0]
    targets[:, 3] = targets[:, :3].max(axis=1)
    both = replace(two, probabilities=probabilities, targets=targets)
    both = replace(both, views=np.full(len(both.views), "PA"))
    fitted = fit_calls(both, LIMITS)
    assert fitted["most_likely"] in ("probability", "score")
    figures = fitted["evidence"]["most_likely"][fitted["most_likely"]]
    assert figures["right"] > figures["commonest_right"]


def test_figures_are_counted_right() -> None:
    """The pooled figures of four images, counted by hand; without calls there is no predictive value."""
    above = np.array([[True, False], [True, True], [False, False], [False, True]])
    targets = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], np.float32)
    found = call_figures(above, targets, targets.max(axis=1), ["a", "b", "c", "d"], rounds=5)
    assert (found["images"], found["without_finding"], found["calls"]) == (4, 2, 4)
    assert (found["false_call_share"], found["ppv"], found["sensitivity"], found["helped_share"]) == (
        0.5,
        0.25,
        0.5,
        0.5,
    )
    none = call_figures(above & False, targets, targets.max(axis=1), ["a", "b", "c", "d"], rounds=5)
    assert (none["false_call_share"], none["sensitivity"]) == (0, 0)
    assert none["ppv"] != none["ppv"]
    one = finding_calls(above[:, 0], targets[:, 0])
    assert (one["called"], one["sensitivity"], one["ppv"], one["lr_plus"]) == (2, 0.5, 0.5, 1.0)


def test_the_most_likely_is_compared_on_the_same_images() -> None:
    """Images for which none is named do not count; the commonest label is that of the others."""
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    found = likely_figures(np.array([0, 0, 1, -1, -1]), targets, list("abcde"), rounds=20)
    assert (found["images"], found["right"]) == (3, 1.0)
    assert found["commonest_right"] == pytest.approx(2 / 3)
    assert likely_figures(np.array([-1] * 5), targets, list("abcde")) == {"images": 0}


def test_the_trade_off_passes_through_the_calls() -> None:
    """The curve of other thresholds holds the point of the thresholds themselves."""
    judged = patients()
    points = thresholds(judged, [*(f := fit_calls(judged, LIMITS))["findings"].values(), f["pathology"]])[:, :1]
    margins, targets, sick = judged.probabilities[:, :1] - points, judged.targets[:, :1], judged.targets[:, -1]
    curve = trade_off(margins, targets, sick)
    found = call_figures(margins >= 0, targets, sick, judged.patients, rounds=2)
    nearest = min(curve, key=lambda point: abs(point[0] - found["false_call_share"]))
    assert nearest == pytest.approx((found["false_call_share"], found["helped_share"]), abs=0.02)


def test_a_finding_that_is_always_told_apart_keeps_a_least_threshold() -> None:
    """Where every threshold between sick and healthy satisfies the limits, none is below the least one."""
    judged, least = patients(strength=12.0), 0.9
    low, kept = (fit_calls(judged, replace(LIMITS, least=value))["findings"]["Clear"]["views"] for value in (0, least))
    assert low["PA"]["threshold"] < least
    assert kept["PA"]["threshold"] == least
    assert kept["PA"]["near"] >= least / 2
