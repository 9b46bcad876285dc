"""The evaluation as tables in Markdown, and as one HTML page with curves in SVG, without scripts or network access."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from inference.evaluation.call_figures import POOLED
from inference.evaluation.plots import Plot, svg

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;border-bottom:1px solid #d5dce3;text-align:right}
td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:.4rem;text-align:center}
figcaption{font-size:13px}svg{background:#fafbfc;border:1px solid #d5dce3;font-size:11px;fill:#4a5866}"""
_LEGEND = ("Orange: where the bundle's thresholds are. Dashed: chance; in the plots of PPV, a call on every image; in "
           "those of reliability, probabilities that are right.")  # fmt: skip
_CHANCE = ((0.0, 0.0), (1.0, 1.0))
_POINT = ("accuracy", "precision", "recall", "specificity", "f1")
Rows = list[list[str]]


def _value(value: Any) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def with_interval(figures: dict[str, Any], key: str) -> str:
    """Return a figure with its interval as text; a dash if it could not be computed."""
    value = figures.get(key, float("nan"))
    if value != value:
        return "-"
    low, high = figures[f"{key}_interval"]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def tables(result: dict[str, Any]) -> dict[str, Rows]:
    """Return each table by its title: rows of cells, the head first."""
    groups = [["group", "images", "mean AUROC", "findings in the mean", "any pathology", "ECE of any pathology"]]
    for name, g in result["groups"].items():
        groups.append([name, str(g["images"]), with_interval(g, "mean_auroc"), _counted(g, result),
                       with_interval(g, "pathology_auroc"),
                       _value(g["pathology_ece"])])  # fmt: skip
    findings = [["finding", "positives", "AUROC", "average precision", "ECE", "Brier"]]
    points = [["finding", *_POINT]]
    for name, f in result["findings"].items():
        findings.append([name, str(f["positives"]), with_interval(f, "auroc"), with_interval(f, "average_precision"),
                         _value(f["expected_calibration_error"]), _value(f["brier"])])  # fmt: skip
        if f["precision"] == f["precision"]:  # something was called
            points.append([name, *(_value(f[key]) for key in _POINT)])
    first = {"Groups": groups} | _calls(result["calls"]) | {"Each patient counting once": _by_patient(result)}
    return first | {"Findings": findings, "Operating points": points} | _gate(result["gate"])


def _counted(group: dict[str, Any], result: dict[str, Any]) -> str:
    """Return over how many findings the mean of a group is: means over different findings cannot be compared."""
    return f"{len(group['findings_counted'])} of {len(result['findings']) - 1}"


def _by_patient(result: dict[str, Any]) -> Rows:
    """Return the figures in which patients with many images count no more than others."""
    rows = [["group", "patients", "mean AUROC", "findings in the mean", "any pathology", "ECE of any pathology",
             "no finding, but a call", "PPV", "sensitivity"]]  # fmt: skip
    for name, g in result["groups"].items():
        figures, calls = g["by_patient"], result["calls"]["by_patient"].get(name)
        row = [name, str(g["patients"]), with_interval(figures, "mean_auroc"), _counted(g, result),
               with_interval(figures, "pathology_auroc"), _value(figures["pathology_ece"])]  # fmt: skip
        rows.append([*row, *(with_interval(calls, key) if calls else "-" for key in POOLED[:3])])
    return rows


def _calls(calls: dict[str, Any]) -> dict[str, Rows]:
    """Return the tables of how often the calls are right: over all findings, and for each that is assessed."""
    pooled = [["group", "images", "without a finding", "of these with a call", "PPV of the calls", "sensitivity",
               "sick images with a right call"]]  # fmt: skip
    for name, g in calls["groups"].items():
        pooled.append([name, str(g["images"]), str(g["without_finding"]), *(with_interval(g, key) for key in POOLED)])
    single = [["finding", "group", "positives", "called", "sensitivity", "PPV", "LR+"]]
    for group, findings in calls["findings"].items():
        if group == "all" or group.startswith("view"):
            for name, f in findings.items():
                single.append([name, group, str(f["positives"]), str(f["called"]),
                               *(_value(f[key]) for key in ("sensitivity", "ppv", "lr_plus"))])  # fmt: skip
    likely = calls["most likely"]
    rows = [["images for which one is named", "right", "the commonest label would be right"]]
    if likely["images"]:
        rows.append([str(likely["images"]), _value(likely["right"]), _value(likely["commonest_right"])])
    note = "" if calls["evaluated"] else " (thresholds that nobody had evaluated)"
    every = {f"Calls{note}": pooled, "Calls by finding": single}
    return every | ({"The most likely finding": rows} if likely["images"] else {})


def _gate(gate: dict[str, Any]) -> dict[str, Rows]:
    """Return the table of what the gate passes and refuses; {} for a bundle without a gate."""
    if "refused" not in gate:
        return {}
    rows = [["pictures", "number", "refused"], ["chests of adults", str(gate["pictures"]), _value(1 - gate["passed"])]]
    rows += [[kind, str(f["pictures"]), _value(f["share"])] for kind, f in gate["refused"].items()]
    return {f"Gate: AUROC {with_interval(gate, 'auroc')}": rows}


def _head(result: dict[str, Any]) -> str:
    model, gate = result["model"], result["gate"]
    parts = [f"{result['images']} images of {result['patients']} patients."]
    if gate:
        parts.append(f"Of the {gate['pictures']} of adults, {gate['passed']:.1%} passed by the gate.")
    parts += [_trained_on(result), f"Model {model['name']} {model['version']}, {model['digest']}."]
    return f"{' '.join(parts)} Intervals: 95 %, bootstrap by patient."


def _trained_on(result: dict[str, Any]) -> str:
    known, images = result["trained_on"], result["images"]
    if known is None:
        return "The bundle does not say which images it was trained on."
    said = f"{known} of {images} images were trained on"
    if result["out_of_fold"]:
        return f"{said}, but each was scored by the network that has not seen its patient."
    return f"{said}." if not known else f"{said}: the figures are better than on patients that the model has not seen."


def evaluation_markdown(result: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    parts = ["# Evaluation", _head(result)]
    for title, rows in tables(result).items():
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        parts += [f"## {title}", "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])]
    return "\n\n".join(parts) + "\n"


def evaluation_html(result: dict[str, Any]) -> str:
    """Return the whole page: tables, the gate's ROC, then ROC, precision-recall and reliability of each finding."""
    body = [f"<h1>Evaluation</h1><p>{escape(_head(result))}</p>"]
    body += [f"<h2>{title}</h2>{_table(rows)}" for title, rows in tables(result).items()]
    body.append(f"<h2>Curves</h2><p>{_LEGEND}</p>")
    for name, curve in result["calls"]["trade_off"].items():
        if curve and (name == "all" or name.startswith("view")):
            body.append(_trade_off(name, curve, result["calls"]["groups"][name]))
    if "roc" in result["gate"]:
        gate = result["gate"]
        caption = f"Gate. AUROC {with_interval(gate, 'auroc')}"
        mark = (_passed(gate["refused"]), gate["passed"])
        body.append(svg(Plot(gate["roc"], "other pictures that pass", "chests that pass", caption, _CHANCE, mark)))
    called = result["calls"]["findings"].get("all", {})
    for name, f in result["findings"].items():
        body.append(f"<h3>{escape(name)}</h3>{''.join(svg(plot) for plot in _curves(f, called.get(name)))}")
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>Evaluation</title><style>{_STYLE}</style>"
            f"<body>{''.join(body)}</body></html>\n")  # fmt: skip


def _table(rows: Rows) -> str:
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rest]
    return f"<table>{''.join(lines)}</table>"


def _trade_off(group: str, curve: Sequence[tuple[float, float]], at: dict[str, Any]) -> str:
    """Return the plot of what other thresholds would give, in which the bundle's own are marked."""
    here = (at["false_call_share"], at["helped_share"])
    axes = ("no finding, but a call (share of images)", "a finding, and a right call")
    caption = f"Calls, {group}. PPV {with_interval(at, 'ppv')}"
    return svg(Plot(curve, *axes, caption, mark=None if np.isnan(here).any() else here))


def _passed(refused: dict[str, Any]) -> float:
    """Return the share of the other pictures, of all kinds together, that passes."""
    shares, numbers = ([f[key] for f in refused.values()] for key in ("share", "pictures"))
    return 1 - float(np.average(shares, weights=numbers))


def _curves(f: dict[str, Any], calls: dict[str, Any] | None) -> tuple[Plot, Plot, Plot]:
    """Return ROC, precision-recall and reliability of a finding, whose calls are marked if there are any."""
    share = f["positives"] / max(1, f["images"])
    marked = calls is not None and calls["called"] > 0
    number = f"{f['positives']} of {f['images']} images positive"
    return (
        Plot(f["roc"], "1 - specificity", "sensitivity", f"ROC. AUROC {with_interval(f, 'auroc')}, {number}", _CHANCE,
             (1 - f["specificity"], f["recall"]) if marked else None),
        Plot(f["precision_recall"], "sensitivity", "PPV",
             f"Average precision {with_interval(f, 'average_precision')}, {number}",
             ((0, share), (1, share)), (f["recall"], f["precision"]) if marked else None),
        Plot([(p, y) for p, y, _ in f["reliability"]], "predicted", "observed",
             f"Reliability. ECE {_value(f['expected_calibration_error'])}", _CHANCE, dots=True),
    )  # fmt: skip
