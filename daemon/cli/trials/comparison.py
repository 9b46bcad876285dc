"""The figures of two models' answers to the same images."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from daemon.cli.site.agreement import scanner, wilson

ALL = "all"
ROUNDS = 1000
Pair = Mapping[str, Any]


def comparison_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return a row for each finding over all scanners, followed by one for each of several scanners.

    `pairs` are those of `Queries.compared`. Only images on which both models assess the finding count.
    """
    rows = []
    for finding, both in sorted(_by_finding(pairs).items()):
        groups: dict[str, list[tuple[Pair, Any, Any]]] = defaultdict(list)
        for one in both:
            groups[scanner(one[0]["first"], one[0]["calling_ae_title"])].append(one)
        rows.append(_row(finding, ALL, both))
        if len(groups) > 1:
            rows += [_row(finding, name, groups[name]) for name in sorted(groups)]
    return rows


def _by_finding(pairs: Sequence[Pair]) -> dict[str, list[tuple[Pair, Any, Any]]]:
    found: dict[str, list[tuple[Pair, Any, Any]]] = defaultdict(list)
    for pair in pairs:
        first, second = (
            {f["finding"]: f for f in (pair[which] or {}).get("findings", ()) if f.get("score") is not None}
            for which in ("first", "second")
        )
        for finding in first.keys() & second.keys():
            found[finding].append((pair, first[finding], second[finding]))
    return found


def _change(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    above = first["call"] == "above", second["call"] == "above"
    return {(False, True): "gained", (True, False): "lost"}.get(above, "")


def _row(finding: str, where: str, both: Sequence[tuple[Pair, Any, Any]]) -> dict[str, Any]:
    changes = [_change(first, second) for _, first, second in both]
    agreed = changes.count("")
    low, high = wilson(agreed, len(both))
    shifts = np.array([second["score"] - first["score"] for _, first, second in both], float)
    least, most = _interval(shifts, [pair["study_instance_uid"] for pair, _, _ in both])
    return {
        "finding": finding, "scanner": where, "images": len(both), "agree": round(agreed / len(both), 4),
        "agree_low": low, "agree_high": high, "gained": changes.count("gained"), "lost": changes.count("lost"),
        "score_shift": round(float(shifts.mean()), 2), "score_shift_low": least, "score_shift_high": most,
    }  # fmt: skip


def _interval(shifts: np.ndarray, studies: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by resampling whole studies."""
    _, group = np.unique(studies, return_inverse=True)
    sums, counts = np.bincount(group, shifts), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sums), size=(ROUNDS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return round(float(low), 2), round(float(high), 2)


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows as a person reads them: each figure with its interval in one cell."""
    return [
        {"finding": row["finding"], "scanner": row["scanner"], "images": str(row["images"]),
         "agree": f"{row['agree']:.0%} ({row['agree_low']:.0%} to {row['agree_high']:.0%})",
         "gained": str(row["gained"]), "lost": str(row["lost"]),
         "score_shift": f"{row['score_shift']:+.1f} ({row['score_shift_low']:+.1f} to {row['score_shift_high']:+.1f})"}
        for row in rows
    ]  # fmt: skip


def examples(pairs: Sequence[Pair], finding: str, number: int) -> Iterator[str]:
    """Yield a sentence for each of the `number` images with the largest change, for each finding whose call changed."""
    for name, both in sorted(_by_finding(pairs).items()):
        changed = [one for one in both if _change(one[1], one[2]) and finding.lower() in ("", name.lower())]
        changed.sort(key=lambda one: -abs(one[2]["score"] - one[1]["score"]))
        for pair, first, second in changed[:number]:
            yield (
                f"{name} {_change(first, second)}: score {first['score']} became {second['score']} in image"
                f" {pair['sop_instance_uid']} of study {pair['study_instance_uid']}"
            )
