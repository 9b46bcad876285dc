"""The catalogue of open models that can be pulled: what they are, where they lie, how they become bundles.

The package's own is `catalogue.toml` beside this file, which explains its keys; a hospital may keep one of its own,
with the addresses of its mirror.
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
    what: str
    urls: tuple[str, ...]
    licence: str
    home: str
    cite: str
    pickle: bool  # the file is a pickled module, not tensors alone
    preprocessing: str
    labels: tuple[str, ...]  # of each output, "" for one that means nothing
    thresholds: dict[str, float]

    @property
    def file_name(self) -> str:
        """What the file is called here: the entry's name, the address's suffix."""
        return self.name + Path(self.urls[0].partition("?")[0]).suffix


def read_catalogue(path: Path = CATALOGUE) -> dict[str, CatalogueEntry]:
    """The entries by name. Raises ImportRefused for a file that is no catalogue."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(name, table) for name, table in tables.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImportRefused(f"{path} is no catalogue of models: {type(error).__name__}: {error}") from error


def find_entry(name: str, path: Path = CATALOGUE) -> CatalogueEntry:
    """The entry `name`. Raises ImportRefused, which lists the names that there are."""
    entries = read_catalogue(path)
    if name not in entries:
        raise ImportRefused(f"{name!r} is not in the catalogue, which has {', '.join(entries)}; `hilum model import` "
                            "takes any file that you have")  # fmt: skip
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
