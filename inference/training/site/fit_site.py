"""Fitting a site's own calibration of a bundle to its readers' verdicts: each part is taken only if it is better."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from inference.bundle import Bundle
from inference.prediction import ANY_FINDING
from inference.serving.calibration import Calibration
from inference.serving.operating_points import VIEWS
from inference.serving.site_calibration import FORMAT
from inference.training.site.labels import ReaderVerdict, labels_of
from inference.training.site.limits import SiteLimits
from inference.training.site.site_calls import fit_site_calls
from inference.training.site.site_map import judged_map


def fit_site(verdicts: Sequence[ReaderVerdict], bundle: Bundle, limits: SiteLimits | None = None) -> dict[str, Any]:
    """Return the content of a site's calibration file for `bundle`; its "findings" are empty if nothing is taken.

    `verdicts` come in the order in which they were given, and concern results of this bundle. "evidence" says for each
    finding what was compared and why it was decided so.
    """
    limits, calibration = limits or SiteLimits(), Calibration(bundle)
    names = [label for label in bundle.labels if calibration.rows[label].get("assessed", True)]
    names += [ANY_FINDING] if calibration.pathology else []
    labels, divided = labels_of(verdicts, names)
    points = {name: {view: calibration.points[view][k] for view in VIEWS}
              for k, name in enumerate((*bundle.labels, ANY_FINDING))}  # fmt: skip
    evidence = {name: judged_map(labels[name], points[name], limits) for name in names}
    taken = {name: {"map": found["map"]} for name, found in evidence.items() if found["map"]}
    for name, found in fit_site_calls(labels, points, limits).items():
        evidence[name]["thresholds"] = found["evidence"]
        if found["views"]:
            taken.setdefault(name, {})["views"] = found["views"]
    return {
        "format": FORMAT,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "findings": taken,
        "evidence": {"verdicts": len(verdicts), "images": len({v.image for v in verdicts}), "divided": divided,
                     "patients": len({v.patient for v in verdicts}), "limits": asdict(limits), "findings": evidence},
    }  # fmt: skip
