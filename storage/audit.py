"""The audit trail: append-only rows. Each row's digest covers the row itself and the digest of the row before it.

This chain shows that a row was changed, removed or inserted, unless all later rows were written anew as well. The
schema's triggers refuse UPDATE and DELETE to everybody who does not remove the triggers first.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Text, insert, select, type_coerce, update

from storage.columns import canonical_json, clean
from storage.database import reading
from storage.schema import audit, audit_head

_HEAD = select(audit_head.c.id, audit_head.c.digest)
_INSERT = insert(audit)
_SEALED = ("event", "study_instance_uid", "sop_instance_uid", "actor", "from_state", "to_state", "previous")
_MOVE_HEAD = update(audit_head)
_CHUNK = 5000


@dataclass(frozen=True)
class TrailFault:
    """A row of the audit trail that is no longer what was written."""

    id: int
    kind: str
    """"changed", "removed" or "inserted"."""
    detail: str


def seal(row: Mapping[Any, Any], at: datetime | str, detail: str) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of a row, its `previous` included.

    A string `at` is ISO 8601 text in UTC with microseconds, as it is stored; `detail` is canonical JSON text.
    """
    moment = at if isinstance(at, str) else at.astimezone(UTC).isoformat(timespec="microseconds")
    content = {name: row[name] for name in _SEALED}
    text = canonical_json({**content, "id": row["id"], "at": moment, "detail": detail})
    return hashlib.sha256(text.encode()).hexdigest()


class TrailWriter:
    """The audit rows of one transaction. Only one transaction writes at a time, so no other row can come between."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        event: str,
        now: datetime,
        *,
        actor: str,
        study_instance_uid: str = "",
        sop_instance_uid: str = "",
        from_state: str = "",
        to_state: str = "",
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Add a row for an event. `from_state` and `to_state` are the study's; empty if it did not change its state."""
        self._rows.append(
            {
                "at": now,
                "event": event,
                "study_instance_uid": clean(study_instance_uid),
                "sop_instance_uid": clean(sop_instance_uid),
                "actor": clean(actor),
                "from_state": from_state,
                "to_state": to_state,
                "detail": detail or {},
            }
        )

    def write(self) -> None:
        """Compute the digests of the rows and insert them. Called once, at the end of the transaction."""
        if not self._rows:
            return
        last, previous = self._connection.execute(_HEAD).one()
        for number, row in enumerate(self._rows, last + 1):
            row.update(id=number, previous=previous)
            row["digest"] = previous = seal(row, row["at"], canonical_json(row["detail"]))
        self._connection.execute(_INSERT, self._rows)
        self._connection.execute(_MOVE_HEAD, {"id": number, "digest": previous})


class Trail:
    """The audit trail in the database, for checks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def verify(self, anchors: Mapping[int, str] | None = None) -> list[TrailFault]:
        """Check the whole trail and return the faults in the order of the rows; an empty list if there are none.

        `anchors` are digests by row number that were kept outside of the database, for example by a syslog server. They
        show what the chain alone cannot: that somebody with all rights removed the last rows, or wrote the chain anew.
        """
        with reading(self._engine) as connection:
            newest, digest = connection.execute(_HEAD).one_or_none() or (0, "")
            faults: dict[int, TrailFault] = {}
            for fault in _faults(_rows(connection), newest, digest):
                faults.setdefault(fault.id, fault)  # a replaced row breaks the links on both sides; one fault is enough
            for number, kept in sorted((anchors or {}).items()):
                found = connection.execute(select(audit.c.digest).where(audit.c.id == number)).scalar()
                if found != kept.lower():
                    faults.setdefault(number, _unanchored(number, found, newest))
            return [faults[number] for number in sorted(faults)]

    def newest(self) -> tuple[int, str]:
        """Return number and digest of the newest row, to be kept elsewhere; (0, "") while there is no row."""
        with reading(self._engine) as connection:
            last, digest = connection.execute(_HEAD).one_or_none() or (0, "")
            return last, digest


def _rows(connection: Connection) -> Iterator[Mapping[Any, Any]]:
    """Yield all rows in order of their id, with `at` and `detail` as they are stored."""
    raw = Text() if connection.dialect.name == "sqlite" else audit.c.at.type
    stored = {"at": raw, "detail": Text()}
    query = select(*(type_coerce(c, stored[c.name]).label(c.name) if c.name in stored else c for c in audit.c))
    after: int | None = None
    while True:
        chunk = query if after is None else query.where(audit.c.id > after)
        rows = connection.execute(chunk.order_by(audit.c.id).limit(_CHUNK)).mappings().all()
        if not rows:
            return
        yield from rows
        after = rows[-1]["id"]


def _faults(rows: Iterator[Mapping[Any, Any]], newest: int, digest: str) -> Iterator[TrailFault]:
    """Yield the faults of the chain. `newest` and `digest` are number and digest of the row that was written last."""
    expected, previous = 1, ""
    suspect: Mapping[Any, Any] | None = None  # its digest is right, but its link to the row before is not
    for row in rows:
        number = row["id"]
        if number < 1 or number > newest:
            yield TrailFault(number, "inserted", f"row {number} is outside of the trail, which goes from 1 to {newest}")
            continue
        if number > expected:
            yield TrailFault(expected, "removed", _missing(expected, number - 1))
            previous = row["previous"]  # nothing is left to compare it with
        if suspect is not None:
            yield _blame(suspect, row["previous"])
            suspect = None
        if seal(row, row["at"], row["detail"]) != row["digest"]:
            yield TrailFault(number, "changed", f"row {number} ({row['event']}) is not what its digest was made of")
        elif row["previous"] != previous:
            suspect = row
        expected, previous = number + 1, row["digest"]
    if expected <= newest:
        yield TrailFault(expected, "removed", _missing(expected, newest))
    elif suspect is not None:
        yield _blame(suspect, digest)
    elif previous != digest:
        yield TrailFault(newest, "changed", f"row {newest} is not the one that was written last")


def _blame(row: Mapping[Any, Any], successor_names: str) -> TrailFault:
    """Say which side of a broken link was forged: a row that the next row links to is genuine."""
    number = row["id"]
    if successor_names == row["digest"]:
        return TrailFault(number - 1, "changed", f"row {number - 1} is not the one that row {number} was linked to")
    return TrailFault(
        number, "inserted", f"row {number} ({row['event']}) is linked neither to the row before nor after it"
    )


def _unanchored(number: int, found: str | None, newest: int) -> TrailFault:
    if found is None:
        return TrailFault(
            number, "removed", f"row {number}, whose digest was kept, is missing; the trail ends at {newest}"
        )
    return TrailFault(number, "changed", f"row {number} has the digest {found[:16]}..., not the one that was kept")


def _missing(first: int, last: int) -> str:
    return f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"
