"""`hilum conflicts`: two different objects with one SOP Instance UID; a person decides which one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.database import actor, carry_out, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config
from daemon.cli.spooled import header_of, spool_of
from daemon.cli.tables import say, show
from daemon.runtime.clock import now

if TYPE_CHECKING:
    from dicom_io.image.header import Header

Number = Annotated[int, typer.Argument(help="The number of the conflict, as printed by hilum conflicts list.")]
COMPARED = (
    "PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID", "StudyDate", "StudyTime",
    "Modality", "SeriesInstanceUID", "BodyPartExamined", "ViewPosition", "StationName", "Rows", "Columns",
)  # fmt: skip

conflicts = typer.Typer(
    help="Settle which of two different objects with the same SOP Instance UID counts.", no_args_is_help=True
)


@conflicts.command("list")
def listed(
    context: typer.Context,
    config: Config = None,
    everything: Annotated[bool, typer.Option("--all", help="List the settled conflicts too.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the conflicts that wait for a decision: who sent the other object, and who the one that counts."""
    store = store_of(config)
    rows = store.queries.conflicts(settled=everything)
    note_reading(store, context)
    columns = ["id", "state", "received_at", "calling_ae_title", "size", "held_calling_ae_title", "held_size"]
    show(rows, [*columns, "sop_instance_uid"], as_json, as_csv)


@conflicts.command("show")
def shown(
    context: typer.Context, number: Number, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """Show the headers of the two objects side by side; an asterisk marks each difference."""
    store, spool = store_of(config), spool_of(config)
    found = _existing(store.queries.conflict(number), number)
    note_reading(store, context)
    show(
        _compared(header_of(spool, found, "held_", "held object"), header_of(spool, found, name="other object")),
        ["element", "held", "other", "differs"],
        as_json,
        as_csv,
    )


@conflicts.command()
def take(number: Number, config: Config = None) -> None:
    """Let the other object count, and analyse its study again.

    The object that counted until now is kept, so running the command again undoes this.
    """
    from daemon import translate

    store, spool = store_of(config), spool_of(config)
    found = _existing(store.queries.conflict(number), number)
    taken = translate.object_of_conflict(header_of(spool, found, name="other object"), found)
    carry_out(
        config, lambda journal: journal.take(number, taken, now(), actor()), "taken; the study will be analysed again"
    )


@conflicts.command()
def discard(number: Number, config: Config = None) -> None:
    """Delete the object that does not count; its digest stays in the audit trail."""
    spool = spool_of(config)
    carry_out(config, lambda journal: spool.remove(journal.discard_conflict(number, now(), actor())), "discarded")


def _existing(conflict: dict[str, Any] | None, number: int) -> dict[str, Any]:
    """Return the conflict; if there is none, print a sentence on standard error and exit with status 1."""
    if conflict is None:
        say(f"there is no conflict {number}; hilum conflicts list prints those that exist", err=True)
        raise typer.Exit(1)
    return conflict


def _compared(held: Header, other: Header) -> list[dict[str, Any]]:
    """Return a row for each element of COMPARED: both values, and whether they differ."""
    pairs = ((keyword, held.text(keyword), other.text(keyword)) for keyword in COMPARED)
    return [{"element": k, "held": a, "other": b, "differs": "*" if a != b else ""} for k, a, b in pairs]
