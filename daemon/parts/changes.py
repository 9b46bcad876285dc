"""What differs between two configurations, and which parts a difference concerns."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.settings import Settings

RECEIVER, DELIVERER, ANALYSER, NOTIFIER, HOUSE = "receive", "deliver", "analyse", "notify", "house"

RESTARTS_RECEIVER = {"dicom", "storage"}
"""The receiver takes over all other sections while it runs, so that its port stays open."""

TAKES_OVER = {DELIVERER: {"peer"}}
"""Sections that a part takes over while it runs."""

INDIFFERENT = {
    ANALYSER: {"peer", "tls", "http", "audit", "delivery", "notifier"},
    DELIVERER: {"http", "audit", "select", "study", "model", "analysis", "alert", "notifier"},
    NOTIFIER: {"peer", "destination", "tls", "http", "audit", "select", "study", "model", "analysis", "alert"},
    HOUSE: {"peer", "select", "study", "model", "delivery", "alert"},
}
"""Sections that a part does not read. A section that is not listed restarts it. The house reads [analysis] and
[[notifier]] because these say which parts there are to look after."""

_FILE = "file:"  # before a key: what is in the file that it names
_CERTIFIED = ("certificate", "key", "ca")
_FILES = {"tls": _CERTIFIED, "audit": _CERTIFIED, "storage": ("database_file",)}


@dataclass(frozen=True)
class Configuration:
    """The settings, and digests of the files that they name."""

    settings: Settings
    files: dict[str, str]
    """By the key that names the file; "" for a file that cannot be read."""

    @classmethod
    def of(cls, settings: Settings) -> "Configuration":
        """These settings with their files as they are now."""
        named = {
            f"{section}.{key}": getattr(getattr(settings, section), key)
            for section, keys in _FILES.items()
            for key in keys
        }
        for model in settings.model:
            table = f"model.{model.name}" if len(settings.model) > 1 else "model"
            named |= {f"{table}.{key}": getattr(model, key) for key in ("site_calibration", "findings")}
        return cls(settings, {key: _digest(Path(name)) for key, name in named.items() if name})


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""  # a pipe would not end
    except OSError:
        return ""


def changed_keys(old: Configuration, new: Configuration) -> list[str]:
    """Return the keys whose values, or whose files, differ, such as "model.digest"; no value, which may be secret.

    A peer is named by its AE title ("peer.CT1"), and a destination by its name.
    """
    before, after = ({**_flat(_sections(c.settings)), **_prefixed(c.files)} for c in (old, new))
    keys = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return sorted({key.removeprefix(_FILE) for key in keys})


def _sections(settings: Settings) -> dict[str, Any]:
    """Return the settings by section; where there is one model only, [model] is one table."""
    sections = settings.model_dump(mode="json")
    return sections | ({"model": sections["model"][0]} if len(settings.model) == 1 else {})


def _prefixed(files: dict[str, str]) -> dict[str, Any]:
    return {f"{_FILE}{key}": digest for key, digest in files.items()}


def _flat(sections: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = defaultdict(list)
    for section, content in sections.items():
        for key, value in _entries(content):
            found[f"{section}.{key}"].append(value)
    return found


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        yield from content.items()
    else:
        for table in content:
            yield table.get("name") or table.get("ae_title"), table


def sections_of(keys: Iterable[str]) -> set[str]:
    """Return the sections that these keys are in."""
    return {key.split(".")[0] for key in keys}


def restarts(part: str, sections: set[str]) -> bool:
    """Whether a part has to be started again if these sections changed. `part` may be numbered: "analyse-0"."""
    kind = part.split("-")[0]
    if kind == RECEIVER:
        return bool(sections & RESTARTS_RECEIVER)
    return bool(sections - INDIFFERENT[kind] - TAKES_OVER.get(kind, set()))


def takes_over(part: str, sections: set[str]) -> bool:
    """Whether a part that need not be started again has to read the configuration again (SIGHUP)."""
    return bool(sections) if part == RECEIVER else bool(sections & TAKES_OVER.get(part, set()))
