"""How often readers agree with the calls, with intervals."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

from storage.feedback import NONE
from storage.journal.feedback import CLAIMS

Verdicts = Sequence[Mapping[str, Any]]

Z = 1.959964  # the normal distribution's 97.5 % point


def agreement_rows(verdicts: Verdicts) -> list[dict[str, Any]]:
    """Return a row for all verdicts, then one for each finding, model version and scanner, the most judged first.

    `verdicts` are those of `FeedbackQueries.standing`. In each row `agreement` is the share of the verdicts that agree,
    `right` the share of the calls "above" that readers agree with, and `missed` the number of findings below threshold
    that readers say are there. The limits of both shares' 95 % intervals end in `_low` and `_high`.
    """
    rows = [_row("all", "", verdicts)] if verdicts else []
    for by, value_of in GROUPS.items():
        parts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for verdict in verdicts:
            parts[value_of(verdict)].append(verdict)
        rows += [_row(by, value, parts[value]) for value in sorted(parts, key=lambda v: (-len(parts[v]), v))]
    return rows


def _model(verdict: Mapping[str, Any]) -> str:
    model = verdict["result"].get("model", {})
    site = f" with {model['site_calibration'][:14]}" if model.get("site_calibration") else ""
    return f"{model.get('name', '')} {model.get('version', '')} {verdict['model_digest'][:14]}{site}".strip()


def scanner(result: Mapping[str, Any], calling_ae_title: str | None) -> str:
    """Return manufacturer, model and station of an image, or the AE title that sent it if its header says nothing."""
    acquisition = result.get("acquisition") or {}
    names = [acquisition.get(key, "") for key in ("manufacturer", "manufacturer_model_name", "station_name")]
    return " / ".join(name for name in names if name) or f"AE {calling_ae_title or 'unknown'}"


GROUPS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "finding": lambda verdict: str(verdict["finding"]),
    "model": _model,
    "scanner": lambda verdict: scanner(verdict["result"], verdict["calling_ae_title"]),
}


def _row(by: str, value: str, verdicts: Verdicts) -> dict[str, Any]:
    agreed = sum(map(_agrees, verdicts))
    above = [v for v in verdicts if v["call"] == "above" and v["finding"] != NONE]
    right = sum(map(_agrees, above))
    return {
        "by": by, "value": value, "studies": len({v["study_instance_uid"] for v in verdicts}),
        "verdicts": len(verdicts), "agreed": agreed, **_share("agreement", agreed, len(verdicts)),
        "above": len(above), "above_agreed": right, **_share("right", right, len(above)),
        "missed": sum(bool(v["present"]) and v["call"] not in CLAIMS and v["finding"] != NONE for v in verdicts),
    }  # fmt: skip


def _agrees(verdict: Mapping[str, Any]) -> bool:
    """Whether the reader agrees with the model; a verdict on "none" is compared with whether anything was above."""
    if verdict["finding"] == NONE:
        return bool(bool(verdict["present"]) == (verdict["call"] == "above"))
    return bool(verdict["verdict"] == "agree")


def _share(name: str, part: int, whole: int) -> dict[str, Any]:
    low, high = wilson(part, whole) if whole else (None, None)
    return {name: round(part / whole, 4) if whole else None, f"{name}_low": low, f"{name}_high": high}


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, to four decimals (Wilson 1927); `whole` is at least 1."""
    share = part / whole
    centre, spread = share + Z**2 / (2 * whole), Z * sqrt(share * (1 - share) / whole + Z**2 / (4 * whole**2))
    low, high = ((centre + side * spread) / (1 + Z**2 / whole) for side in (-1, 1))
    return round(max(0.0, low), 4), round(min(1.0, high), 4)


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows as a person reads them: each share with its interval in one cell."""
    return [
        {"by": row["by"], "value": row["value"], "studies": str(row["studies"]), "verdicts": str(row["verdicts"]),
         "agreed": _cell(row, "agreement", "agreed", "verdicts"),
         "above_and_right": _cell(row, "right", "above_agreed", "above"), "missed": str(row["missed"])}
        for row in rows
    ]  # fmt: skip


def _cell(row: Mapping[str, Any], share: str, part: str, whole: str) -> str:
    if not row[whole]:
        return ""
    low, high = row[f"{share}_low"], row[f"{share}_high"]
    return f"{row[part]} of {row[whole]}: {row[share]:.0%} ({low:.0%} to {high:.0%})"
