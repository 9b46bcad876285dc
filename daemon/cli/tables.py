r"""Prints rows: as a table for a person, as JSON for a program, or as CSV for a spreadsheet. And prints sentences.

Values from outside stay data: in a table and in a sentence control characters are shown as escapes and nothing is taken
for markup, and in CSV nothing is taken for a formula. JSON holds the values exactly.
"""

import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from daemon.runtime.visible import json_text, visible

Row = dict[str, Any]
WIDTH = 160  # columns of text, for a table that goes into a file or a pipe
NAMED = 3  # findings that one cell names


def show(rows: Sequence[Row], columns: Sequence[str], as_json: bool = False, as_csv: bool = False) -> None:
    """Print `rows` on standard output as a table of `columns`, or with every key as a JSON array or as CSV."""
    if as_json:
        print_json(list(rows))
    elif as_csv:
        print(_csv(rows), end="")
    else:
        console = Console()
        console.width = console.width if console.is_terminal else WIDTH
        console.print(_table(rows, columns))


def print_json(value: Any) -> None:
    """Print a value as JSON, beyond ASCII only where standard output takes UTF-8."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json_text(value, ascii_only=not utf8, indent=1, default=str))


def print_line(value: Any) -> None:
    """Print a value as one line of JSON (JSON Lines) at once, in ASCII."""
    print(json_text(value, ascii_only=True, separators=(",", ":"), default=str), flush=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function (done, total) that shows on standard error how far a command is, if that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say(sentence: str, err: bool = False) -> None:
    """Print a sentence on a line of its own on standard output, or with `err` on standard error."""
    typer.echo(visible(sentence), err=err)


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(caption=f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}", caption_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(text(row.get(column)))) for column in columns))
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
            above = [f for f in findings if f.get("call") == "above"]
            named = sorted(above, key=lambda f: -f.get("score", 50))
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            cells = (f"{f['finding']} {f['score']}" if "score" in f else f["finding"] for f in named[:NAMED])
            return ", ".join(cells) + more or "none above"
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
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


# A spreadsheet computes a cell that begins like this, also after spaces; where it expects semicolons between the cells,
# what follows one is a cell too.
_FORMULA = re.compile(r"(?:^|(?<=;))(?=\s*[=+\-@]|[\t\r\n])")


def _cell(value: Any) -> Any:
    """Return a value as a cell of CSV: text that a spreadsheet would compute gets an apostrophe in front."""
    if isinstance(value, list | dict):
        return json_text(value, ascii_only=True).replace(";", "\\u003b")  # JSON has one inside of strings only
    if not isinstance(value, str):
        return value
    starts = [found.start() for found in _FORMULA.finditer(_plain(value))]
    pieces = [value[start:end] for start, end in zip([0, *starts], [*starts, None], strict=True)]
    return "'".join(map(visible, pieces))


def _plain(value: str) -> str:
    """Return the text with each character of another width or size, such as U+FF1D, as the usual one; same length."""
    return "".join((unicodedata.normalize("NFKC", character) + " ")[0] for character in value)
