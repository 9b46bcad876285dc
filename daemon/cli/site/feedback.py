"""`hilum feedback`, and `hilum audit feedback` and `agreement`: what readers say of results."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from daemon.cli.audit import Since, Until, audit, time_of
from daemon.cli.database import actor, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config
from daemon.cli.site.agreement import agreement_rows, shown
from daemon.cli.tables import say, show
from daemon.runtime.clock import now
from storage.errors import StorageError
from storage.feedback import NONE
from storage.journal.feedback import Judgement


class Opinion(StrEnum):
    """Whether a reader agrees with a call."""

    agree = "agree"
    disagree = "disagree"


def feedback(
    study: Annotated[str, typer.Argument(help="The Study Instance UID, or an accession number of one study.")],
    finding: Annotated[str, typer.Option(help='A finding of the model; "none": none of its findings is there.')],
    verdict: Annotated[Opinion, typer.Option(help="Whether the reader agrees with the call.")],
    by: Annotated[str, typer.Option(help="The reader's name.")],
    note: Annotated[str, typer.Option(help="A remark; it stays in the database and goes nowhere else.")] = "",
    image: Annotated[
        str, typer.Option(help="SOP Instance UID; default: the image in which the finding is strongest.")
    ] = "",
    config: Config = None,
) -> None:
    """Record what a radiologist says of a result.

    Agreeing with a finding that is above or near its threshold says that it is there. Disagreeing with one that is
    below its threshold says that it was missed. A correction is a new verdict of the same reader.
    """
    said = Judgement(study, finding, verdict.value, by, note, image)
    try:
        row = store_of(config).journal.judge(said, now(), actor())
    except StorageError as fault:
        say(str(fault), err=True)
        raise typer.Exit(1) from None
    say(sentence_of(row))


def sentence_of(row: dict[str, Any]) -> str:
    """Return what was recorded, in words, so that a slip shows at once."""
    if row["finding"] == NONE:
        what = "something is there" if row["present"] else "none of the findings is there"
        shown = f"the call was {row['call']}"
    else:
        what = f"{row['finding']} is {'there' if row['present'] else 'not there'}"
        score = "" if row["score"] is None else f", score {row['score']}"
        shown = f"the call was {row['call']}{score}"
    return f"recorded as verdict {row['id']} by {row['reader']}: {what} ({shown}), image {row['sop_instance_uid']}"


@audit.command("feedback")
def listed(
    context: typer.Context,
    study: Annotated[str, typer.Option(help="Only of the study with this Study Instance UID.")] = "",
    finding: Annotated[str, typer.Option(help='Only on this finding, or "none".')] = "",
    by: Annotated[str, typer.Option(help="Only of this reader.")] = "",
    config: Config = None,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(help="Print at most this many, the newest first.")] = 1000,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List what readers said of results, corrected verdicts included."""
    store = store_of(config)
    rows = store.feedback.listed(
        since=time_of(since),
        until=time_of(until),
        study_instance_uid=study or None,
        finding=finding or None,
        reader=by or None,
        limit=limit,
    )
    note_reading(store, context)
    columns = ["at", "reader", "finding", "verdict", "present", "call", "score", "view", "counts", "note"]
    show(rows, [*columns, "accession_number", "study_instance_uid"], as_json, as_csv)


@audit.command()
def agreement(
    context: typer.Context,
    config: Config = None,
    since: Since = "",
    until: Until = "",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show how often readers agree with the calls: by finding, model version and scanner, with 95 % intervals.

    Only verdicts count: of an image that nobody judged, nothing is known. Of one reader's verdicts on the same call the
    newest counts.
    """
    store = store_of(config)
    rows = agreement_rows(store.feedback.standing(time_of(since), time_of(until)))
    note_reading(store, context)
    columns = ["by", "value", "studies", "verdicts", "agreed", "above_and_right", "missed"]
    show(rows if as_json or as_csv else shown(rows), columns, as_json, as_csv)
