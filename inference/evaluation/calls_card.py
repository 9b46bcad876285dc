"""The tables of a model card that say what the calls of the bundle are worth."""

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
