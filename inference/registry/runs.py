"""Runs in MLflow's store beside each other: what was set differently, and how well each ended."""

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from inference.errors import EngineError
from inference.training.tracking import open_mlflow

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;border-bottom:1px solid #d5dce3;text-align:right}
td:first-child,th:first-child{text-align:left}"""
MOST = 1000  # runs that are read


@dataclass(frozen=True)
class Run:
    """One run, as far as MLflow has it."""

    run: str  # MLflow's ID
    name: str
    status: str  # RUNNING, FINISHED, FAILED or KILLED
    started: str  # UTC, to the minute
    digest: str  # of the bundle that came of it, "" if none did
    parameters: dict[str, str]
    metrics: dict[str, float]  # each as it was last noted


def recorded_runs(experiment: str = "hilum", uri: str = "") -> list[Run]:
    """Return the runs of an experiment, at most MOST, the newest first.

    Raises EngineError if MLflow does not answer, or has no such experiment.
    """
    mlflow = open_mlflow(uri)
    client = mlflow.MlflowClient()
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise EngineError(f"MLflow's store {mlflow.get_tracking_uri()} has no experiment {experiment!r}")
        rows = client.search_runs([found.experiment_id], max_results=MOST, order_by=["attributes.start_time DESC"])
    except mlflow.MlflowException as error:
        raise EngineError(f"MLflow's store {mlflow.get_tracking_uri()} cannot be read: {error}") from error
    return [_run(row) for row in rows]


def _run(row: Any) -> Run:
    started = datetime.fromtimestamp(row.info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return Run(row.info.run_id, row.info.run_name or "", row.info.status, started, row.data.tags.get("digest", ""),
               dict(row.data.params), dict(row.data.metrics))  # fmt: skip


def comparison(runs: list[Run]) -> dict[str, list[list[str]]]:
    """Return each table by its title, the head first, with one column for each run.

    Parameters in which all runs agree are left out.
    """
    head = [run.name or run.run[:8] for run in runs]
    facts = [[title, *(getattr(run, key)[:19] for run in runs)] for title, key in
             (("started", "started"), ("status", "status"), ("digest", "digest"))]  # fmt: skip
    keys = {key for run in runs for key in run.parameters if len({r.parameters.get(key) for r in runs}) > 1}
    settings = [[key, *(run.parameters.get(key, "-") for run in runs)] for key in sorted(keys)]
    names = sorted({key for run in runs for key in run.metrics})
    figures = [[key, *(_value(run.metrics.get(key)) for run in runs)] for key in names]
    tables = {"Runs": facts, "What was set differently": settings, "Last figures": figures}
    return {title: [["", *head], *rows] for title, rows in tables.items() if rows}


def comparison_html(runs: list[Run]) -> str:
    """Return the comparison as one HTML page, without scripts or network access."""
    body = "".join(f"<h2>{title}</h2>{_table(rows)}" for title, rows in comparison(runs).items())
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>Runs</title><style>{_STYLE}</style>"
            f"<body><h1>Runs</h1>{body}</body></html>\n")  # fmt: skip


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rest]
    return f"<table>{''.join(lines)}</table>"


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
