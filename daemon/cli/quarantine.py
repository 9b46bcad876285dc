"""`hilum quarantine`, `hilum retry` and `hilum replay`: what a person can do about a study."""

import typer

from daemon.cli.database import actor, carry_out, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config, StudyUid
from daemon.cli.tables import show
from daemon.runtime.clock import now

quarantine = typer.Typer(help="List and settle the studies that need a person's decision.", no_args_is_help=True)


@quarantine.command("list")
def quarantined(context: typer.Context, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the studies in quarantine, each with the reason."""
    store = store_of(config)
    rows = store.queries.quarantined()
    note_reading(store, context)
    columns = ["accession_number", "patient_id", "reason", "received_at", "attempts", "study_instance_uid"]
    show(rows, columns, as_json, as_csv)


@quarantine.command("show")
def shown(
    context: typer.Context, study_uid: StudyUid, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """Show everything that happened to a study."""
    store = store_of(config)
    rows = store.queries.events(study_uid)
    note_reading(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json, as_csv)


@quarantine.command()
def release(study_uid: StudyUid, config: Config = None) -> None:
    """Let the daemon try again: refused deliveries if there are any, otherwise the analysis."""
    carry_out(config, lambda journal: journal.release(study_uid, now(), actor()), "released")


@quarantine.command()
def discard(study_uid: StudyUid, config: Config = None) -> None:
    """Give up a study. It gets the state IGNORED, and nothing more of it is delivered; its records are kept."""
    carry_out(config, lambda journal: journal.discard(study_uid, now(), actor()), "discarded")


def retry(study_uid: StudyUid, config: Config = None) -> None:
    """Deliver a study's results again now, including those that were refused."""
    carry_out(
        config, lambda journal: journal.retry(study_uid, now(), actor()), "result object(s) will be delivered now"
    )


def replay(study_uid: StudyUid, config: Config = None) -> None:
    """Analyse a study again from the spool. If the result differs, a new report is sent that names the old one."""
    carry_out(config, lambda journal: journal.replay(study_uid, now(), actor()), "the study will be analysed again")
