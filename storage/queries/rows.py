"""What the queries share: filters, and rows as they are handed out."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select


def window(query: Select[Any], column: Any, since: datetime | None, until: datetime | None) -> Select[Any]:
    """Keep the rows whose time is from `since` (included) to `until` (not included); None is no limit."""
    if since is not None:
        query = query.where(column >= since)
    return query if until is None else query.where(column < until)


def matching(query: Select[Any], wanted: Iterable[tuple[Any, Any]]) -> Select[Any]:
    """Keep the rows in which each column has the value that is wanted of it; None wants nothing."""
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    return query


def chunks(values: Sequence[int], size: int = 500) -> Iterable[Sequence[int]]:
    """Split the values: a statement of SQLite has at most 32766 parameters, in older versions 999."""
    return (values[start : start + size] for start in range(0, len(values), size))


def plain(row: Any, names: Iterable[str] | None = None, skip: Iterable[str] = ()) -> dict[str, Any]:
    """Return a row as a dictionary that can be written as JSON."""
    chosen = [name for name in (names or row) if name not in skip]
    return {name: row[name].isoformat() if isinstance(row[name], datetime) else row[name] for name in chosen}
