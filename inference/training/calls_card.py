"""The model card of a trained bundle, and its tables that say what the calls of the bundle are worth."""

from collections.abc import Mapping
from typing import Any

from inference.serving.operating_points import AP, PA


def calls_markdown(content: Mapping[str, Any]) -> str:
    """Return the tables as Markdown, from the content of configs/calibration.json in format 2."""
    limits, lines = content["evidence"]["limits"], []
    lines += ["| finding | AUROC | view | threshold | sensitivity | PPV | LR+ | called | positives |", "|---" * 9 + "|"]
    for name, row in content["findings"].items():
        if row["assessed"]:
            lines += [f"| {name} | {_with_limits(row['auroc'])} | {view} | {_point(row['views'][view])} |"
                      for view in (PA, AP)]  # fmt: skip
    others = [name for name, row in content["findings"].items() if not row["assessed"]]
    lines += [
        "",
        f"Not assessed, because the lower limit of the AUROC is below {limits['auroc']:.2f}: {', '.join(others)}.",
    ]
    lines += ["", "| view | images | without a finding | of these with a call | PPV | sensitivity, all labels | "
              "sick images with a right call |", "|---" * 7 + "|"]  # fmt: skip
    for view, figures in content["evidence"]["views"].items():
        keys = ("false_call_share", "ppv", "sensitivity", "helped_share")
        shares = " | ".join(_with_limits([figures[key], *figures[f"{key}_interval"]]) for key in keys)
        lines.append(f"| {view} | {figures['images']} | {figures['without_finding']} | {shares} |")
    return "\n".join(lines) + "\n"


def model_card(name: str, version: str, parts: Mapping[str, str]) -> str:
    """Return a model card: a heading, and under each title of `parts` its text."""
    head = f"# {name} {version}\n\nThis is not a medical device.\n"
    return head + "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in parts.items())


def data_markdown(described: Mapping[str, Any]) -> str:
    """Return what a bundle was trained on, from what `train.described` returns."""
    return (
        f"{described['images']} images of {described['patients']} patients; {described['held_out']} images were held "
        f"out for early stopping and calibration. Cohorts: {described['cohorts']}. Labels and fingerprints of the "
        f"pictures: {described['data']}."
    )


def findings_markdown(described: Mapping[str, Any], calibration: Mapping[str, Any] | None) -> str:
    """Return a table of the findings: positives in both parts, and the AUROC on the images that were held out."""
    lines = ["| finding | positive images in training | held out | AUROC, held out |", "|---" * 4 + "|"]
    for name, (trained, held) in described["positives"].items():
        area = _with_limits(calibration["findings"][name]["auroc"]) if calibration else "-"
        lines.append(f"| {name} | {trained} | {held} | {area} |")
    lines += ["", "Intervals: 95 %, bootstrap by patient. The images held out chose when training stopped, if the "
              "recipe has patience, and fitted calibration and thresholds, so that figures on other patients are "
              "lower: measure them with `hilum evaluate`."]  # fmt: skip
    return "\n".join(lines)


def _point(point: Mapping[str, Any] | None) -> str:
    if not point:
        return "none | - | - | - | - | -"
    share = " | ".join(_value(point[key]) for key in ("threshold", "sensitivity", "ppv"))
    return f"{share} | {_value(point['lr_plus'], 1)} | {point['called']} | {point['positives']}"


def _with_limits(values: list[float | None]) -> str:
    value, low, high = map(_value, values)
    return "-" if value == "-" else f"{value} ({low} to {high})"


def _value(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
