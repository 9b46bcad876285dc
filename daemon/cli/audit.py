"""`hilum audit`: what happened to a study."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from daemon.cli.database import note, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config
from daemon.cli.tables import show
from daemon.runtime.clock import now

Since = Annotated[str, typer.Option(help="From this time on: 2026-11-21, 2026-11-21T03:00, or 90m, 12h, 7d ago.")]
Until = Annotated[str, typer.Option(help="Up to this time, written likewise.")]

audit = typer.Typer(help="Ask the audit database what happened.", no_args_is_help=True)


def _time(written: str) -> datetime | None:
    """A moment from ISO 8601 (local time where it has no offset) or from "12h" before now."""
    if not written:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if written[-1] in units and written[:-1].isdigit():
        return now() - timedelta(**{units[written[-1]]: int(written[:-1])})
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no time; write 2026-11-21, 2026-11-21T03:00 or 12h") from None


@audit.command()
def studies(
    context: typer.Context,
    config: Config = None,
    since: Since = "",
    until: Until = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession Number.")] = "",
    finding: Annotated[str, typer.Option(help="Only studies in which this finding is present.")] = "",
    state: Annotated[str, typer.Option(help="RECEIVED, ANALYSED, DELIVERED, COMMITTED, IGNORED or QUARANTINED.")] = "",
    limit: Annotated[int, typer.Option(help="At most this many, newest first.")] = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """The studies: where each stands, why, and what was found."""
    store = store_of(config)
    rows = store.queries.studies(
        since=_time(since),
        until=_time(until),
        patient=patient or None,
        accession=accession or None,
        finding=finding or None,
        state=state.upper() or None,
        limit=limit,
    )
    note_reading(store, context)
    show(
        rows,
        [
            "accession_number",
            "patient_id",
            "state",
            "findings",
            "reason",
            "received_at",
            "delivered_at",
            "study_instance_uid",
        ],
        as_json,
        as_csv,
    )


@audit.command()
def events(
    context: typer.Context,
    study: Annotated[str, typer.Option(help="Only of this Study Instance UID.")] = "",
    config: Config = None,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(help="At most this many, the newest.")] = 1000,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """The audit trail, step by step."""
    store = store_of(config)
    rows = store.queries.events(study or None, since=_time(since), until=_time(until), limit=limit)
    note_reading(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json, as_csv)


@audit.command()
def deliveries(
    context: typer.Context,
    destination: Annotated[str, typer.Option(help="Only to this destination.")] = "",
    state: Annotated[str, typer.Option(help="PENDING, ACCEPTED, WARNING, REFUSED or COMMITTED.")] = "",
    config: Config = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """The result objects: what went where, and what the destination said."""
    store = store_of(config)
    rows = store.queries.deliveries(destination=destination or None, state=state.upper() or None)
    note_reading(store, context)
    show(
        rows,
        [
            "destination",
            "kind",
            "state",
            "attempts",
            "status",
            "comment",
            "next_attempt_at",
            "delivered_at",
            "study_instance_uid",
        ],
        as_json,
        as_csv,
    )


@audit.command()
def verify(
    context: typer.Context,
    anchor: Annotated[
        list[str] | None,
        typer.Option(help="NUMBER:DIGEST of a row as it was kept elsewhere, e.g. by the syslog server; may repeat."),
    ] = None,
    config: Config = None,
) -> None:
    """Check the trail's hash chain; name each row that was changed, removed or inserted, and end with 1."""
    store, anchors = store_of(config), dict(map(_anchor, anchor or ()))
    (number, digest), faults = store.trail.newest(), store.trail.verify(anchors)
    for fault in faults:
        typer.echo(f"row {fault.id}: {fault.kind}: {fault.detail}")
    if faults:
        note(store, "SECURITY", {"kind": "audit-trail-altered", "faults": len(faults)})
        typer.echo(f"{len(faults)} faults")
        raise typer.Exit(1)
    typer.echo(f"the audit trail is as it was written, up to row {number}:{digest}")
    note_reading(store, context)


def _anchor(written: str) -> tuple[int, str]:
    number, _, digest = written.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise typer.BadParameter(f"{written!r} is no anchor; write NUMBER:DIGEST as hilum audit verify prints them")
    return int(number), digest
