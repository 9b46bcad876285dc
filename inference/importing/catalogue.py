"""The catalogue of open models that `hilum model pull` can download: what they are, and how they become bundles.

The package's own catalogue is `catalogue.toml` beside this file, which explains the keys. A hospital may keep one of
its own, for example with the addresses of its mirror.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import ImportRefused

CATALOGUE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class CatalogueEntry:
    """An open model that somebody publishes."""

    name: str
    what: str  # a description in one line
    urls: tuple[str, ...]  # of the file; the next one is tried if one cannot be reached
    licence: str
    home: str  # the address of the publisher's page
    cite: str
    pickle: bool  # whether the file is a pickled module rather than tensors only
    preprocessing: str  # see `importer.Wanted`
    labels: tuple[str, ...]  # one for each output, "" for an output that was not trained
    thresholds: dict[str, float]  # by label

    @property
    def file_name(self) -> str:
        """The name under which the file is stored here: the entry's name with the suffix of the address."""
        return self.name + Path(self.urls[0].partition("?")[0]).suffix


def read_catalogue(path: Path = CATALOGUE) -> dict[str, CatalogueEntry]:
    """Return the entries by name. Raises ImportRefused for a file that is not a catalogue."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(name, table) for name, table in tables.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImportRefused(f"{path} is not a catalogue of models: {type(error).__name__}: {error}") from error


def find_entry(name: str, path: Path = CATALOGUE) -> CatalogueEntry:
    """Return the entry `name`. Raises ImportRefused with a list of the known names if there is no such entry."""
    entries = read_catalogue(path)
    if name not in entries:
        raise ImportRefused(f"{name!r} is not in the catalogue, which has {', '.join(entries)}; `hilum model import` "
                            "imports a file that you have")  # fmt: skip
    return entries[name]


def _entry(name: str, table: dict[str, Any]) -> CatalogueEntry:
    urls = tuple(map(str, table["urls"]))
    if not urls or any(not url.startswith("https://") for url in urls) or Path(name).name != name:
        raise ValueError(f"{name}: a plain name and addresses that begin with https:// are expected, found {urls}")
    outputs = [tuple(output) for output in table.get("outputs", [])]
    return CatalogueEntry(
        name, table["what"], urls, table["licence"], table["home"], table.get("cite", ""), bool(table["pickle"]),
        table.get("preprocessing", ""), tuple(output[0] if output else "" for output in outputs),
        {label: float(threshold) for label, threshold in filter(None, outputs)},
    )  # fmt: skip
