"""`hilum audit`: queries of the audit database."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from daemon.cli.database import note, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config, StudyUid
from daemon.cli.tables import say, show
from daemon.runtime.clock import now

Since = Annotated[
    str, typer.Option(help="Only from this time on: 2026-11-21, 2026-11-21T03:00, or how long ago: 90m, 12h, 7d.")
]
Until = Annotated[str, typer.Option(help="Only up to this time, written in the same way.")]

audit = typer.Typer(help="Query the audit database: what happened, and when.", no_args_is_help=True)


def time_of(written: str) -> datetime | None:
    """Read a time in ISO 8601 (local if it has no offset), or "12h" for 12 hours ago. None if nothing is written."""
    if not written:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if written[-1] in units and written[:-1].isdecimal():
            return now() - timedelta(**{units[written[-1]]: int(written[:-1])})
        return datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{written!r} is not a time; write 2026-11-21, 2026-11-21T03:00 or 12h") from None


@audit.command()
def studies(
    context: typer.Context,
    config: Config = None,
    since: Since = "",
    until: Until = "",
    patient: Annotated[str, typer.Option(help="Only studies with this Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Only studies with this Accession Number.")] = "",
    finding: Annotated[str, typer.Option(help="Only studies in which this finding is above its threshold.")] = "",
    state: Annotated[
        str, typer.Option(help="Only in this state: RECEIVED, ANALYSED, DELIVERED, COMMITTED, IGNORED, QUARANTINED.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Print at most this many, the newest first.")] = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the studies: the state of each, the reason, and what was found."""
    store = store_of(config)
    rows = store.queries.studies(
        since=time_of(since),
        until=time_of(until),
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
    study: Annotated[str, typer.Option(help="Only of the study with this Study Instance UID.")] = "",
    config: Config = None,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(help="Print at most this many, the newest ones.")] = 1000,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the audit trail, event by event."""
    store = store_of(config)
    rows = store.queries.events(study or None, since=time_of(since), until=time_of(until), limit=limit)
    note_reading(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json, as_csv)


@audit.command()
def analyses(
    context: typer.Context, study: StudyUid, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """List which model said what of a study, oldest first: models on trial, and what was said before, included."""
    store = store_of(config)
    rows = store.queries.analyses(study)
    note_reading(store, context)
    columns = ["model", "bundle_name", "bundle_version", "shadow", "current", "state", "reason", "ended_at", "findings"]
    show(rows, columns, as_json, as_csv)


@audit.command()
def deliveries(
    context: typer.Context,
    destination: Annotated[str, typer.Option(help="Only to this destination.")] = "",
    state: Annotated[
        str, typer.Option(help="Only in this state: PENDING, ACCEPTED, WARNING, REFUSED, COMMITTED.")
    ] = "",
    config: Config = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the deliveries of result objects: where each was sent, and what the destination answered."""
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
        typer.Option(help="NUMBER:DIGEST of a row that was kept elsewhere, e.g. by the syslog server. Repeatable."),
    ] = None,
    config: Config = None,
) -> None:
    """Check the hash chain of the audit trail.

    Prints a line for each row that was changed, removed or inserted; the exit status is then 1.
    """
    store, anchors = store_of(config), dict(map(_anchor, anchor or ()))
    (number, digest), faults = store.trail.newest(), store.trail.verify(anchors)
    for fault in faults:
        say(f"row {fault.id}: {fault.kind}: {fault.detail}")
    if faults:
        note(store, "SECURITY", {"kind": "audit-trail-altered", "faults": len(faults)})
        say(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}")
        raise typer.Exit(1)
    say(f"the audit trail is as it was written, up to row {number}:{digest}")
    note_reading(store, context)


def _anchor(written: str) -> tuple[int, str]:
    number, _, digest = written.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise typer.BadParameter(f"{written!r} is not an anchor; write NUMBER:DIGEST, as printed by hilum audit verify")
    return int(number), digest
