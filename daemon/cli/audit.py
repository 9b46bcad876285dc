"""`hilum audit`, `quarantine`, `retry`, `replay`: what happened to a study, and what to do about it."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import ConfigurationError
from daemon.cli.tables import show
from daemon.runtime.clock import now
from daemon.runtime.person import login
from daemon.wiring import read_settings
from storage.errors import DatabaseError, StorageError
from storage.journal import Journal
from storage.store import Store, open_store

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="HILUM_CONFIG", help="The configuration file (TOML).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON array.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Since = Annotated[str, typer.Option(help="From this time on: 2026-11-21, 2026-11-21T03:00, or 90m, 12h, 7d ago.")]
Until = Annotated[str, typer.Option(help="Up to this time, written likewise.")]
StudyUid = Annotated[str, typer.Argument(help="The Study Instance UID.", metavar="STUDY_UID")]

audit = typer.Typer(help="Ask the audit database what happened.", no_args_is_help=True)
quarantine = typer.Typer(help="Studies that need a person.", no_args_is_help=True)


def _store(config: Path | None) -> Store:
    try:
        settings = read_settings(config, os.environ)
        return open_store(settings.storage.database_url(), settings.storage.directory)
    except (ConfigurationError, StorageError, OSError) as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None


def _used(store: Store, context: typer.Context) -> None:
    """A row in the audit trail: who read it, asking for what. Whoever may only read the database leaves none."""
    asked = {k: v for k, v in context.params.items() if v and k not in ("config", "as_json", "as_csv")}
    command = f"{context.parent.info_name if context.parent else ''} {context.info_name}".lstrip()
    words = " ".join([command, *(f"--{name.replace('_', '-')}={value}" for name, value in asked.items())])
    _note(store, "AUDIT_READ", {"command": words})


def _note(store: Store, event: str, detail: dict[str, Any]) -> None:
    with suppress(DatabaseError):
        store.journal.record(event, now(), actor=_actor(), detail=detail)


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
    store = _store(config)
    rows = store.queries.studies(
        since=_time(since),
        until=_time(until),
        patient=patient or None,
        accession=accession or None,
        finding=finding or None,
        state=state.upper() or None,
        limit=limit,
    )
    _used(store, context)
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
    store = _store(config)
    rows = store.queries.events(study or None, since=_time(since), until=_time(until), limit=limit)
    _used(store, context)
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
    store = _store(config)
    rows = store.queries.deliveries(destination=destination or None, state=state.upper() or None)
    _used(store, context)
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
    store, anchors = _store(config), dict(map(_anchor, anchor or ()))
    (number, digest), faults = store.trail.newest(), store.trail.verify(anchors)
    for fault in faults:
        typer.echo(f"row {fault.id}: {fault.kind}: {fault.detail}")
    if faults:
        _note(store, "SECURITY", {"kind": "audit-trail-altered", "faults": len(faults)})
        typer.echo(f"{len(faults)} faults")
        raise typer.Exit(1)
    typer.echo(f"the audit trail is as it was written, up to row {number}:{digest}")
    _used(store, context)


def _anchor(written: str) -> tuple[int, str]:
    number, _, digest = written.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise typer.BadParameter(f"{written!r} is no anchor; write NUMBER:DIGEST as hilum audit verify prints them")
    return int(number), digest


@quarantine.command("list")
def quarantined(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The studies that need a person, and why."""
    store = _store(config)
    rows = store.queries.quarantined()
    _used(store, context)
    show(rows, ["accession_number", "patient_id", "reason", "received_at", "attempts", "study_instance_uid"], as_json)


@quarantine.command("show")
def shown(context: typer.Context, study_uid: StudyUid, config: Config = None, as_json: AsJson = False) -> None:
    """Every step that a study took."""
    store = _store(config)
    rows = store.queries.events(study_uid)
    _used(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json)


@quarantine.command()
def release(study_uid: StudyUid, config: Config = None) -> None:
    """Let the daemon try the study again."""
    _do(config, lambda journal: journal.release(study_uid, now(), _actor()), "released")


@quarantine.command()
def discard(study_uid: StudyUid, config: Config = None) -> None:
    """Give the study up: it is marked IGNORED, and stays in the audit trail."""
    _do(config, lambda journal: journal.discard(study_uid, now(), _actor()), "discarded")


def retry(study_uid: StudyUid, config: Config = None) -> None:
    """Deliver a study's results again at once, those that were refused too."""
    _do(config, lambda journal: journal.retry(study_uid, now(), _actor()), "due at once")


def replay(study_uid: StudyUid, config: Config = None) -> None:
    """Analyse a study again from the spool; a result that differs becomes a new report that names the old one."""
    _do(config, lambda journal: journal.replay(study_uid, now(), _actor()), "will be analysed again")


def _actor() -> str:
    return f"operator {login()}"


def _do(config: Path | None, action: Callable[[Journal], int | None], done: str) -> None:
    try:
        number = action(_store(config).journal)
    except StorageError as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None
    typer.echo(done if number is None else f"{number} {done}")
