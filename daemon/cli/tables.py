"""Prints rows: as a table for a person, as JSON for a program, or as CSV for a spreadsheet."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
WIDTH = 160  # columns of text, for a table that goes into a file or a pipe
NAMED = 3  # findings that one cell names


def show(rows: Sequence[Row], columns: Sequence[str], as_json: bool = False, as_csv: bool = False) -> None:
    """Print `rows` on standard output as a table of `columns`, or with every key as a JSON array or as CSV."""
    if as_json:
        print(json.dumps(list(rows), indent=1, ensure_ascii=False, default=str))
    elif as_csv:
        print(_csv(rows), end="")
    else:
        console = Console()
        console.width = console.width if console.is_terminal else WIDTH
        console.print(_table(rows, columns))


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(caption=f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}", caption_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(text(row.get(column)) for column in columns))
    return table


def text(value: Any) -> str:
    """Return a value as a person reads it in a table."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.3g}"
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case [*findings] if findings and isinstance(findings[0], dict):
            present = [f for f in findings if f.get("call") == "present"]
            named = sorted(present, key=lambda f: -f["probability"])
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            return ", ".join(f"{f['finding']} {f['probability']:.0%}" for f in named[:NAMED]) + more or "none present"
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=str) if value else ""
        case _:
            return str(value)


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})
    return out.getvalue()
