"""`hilum quarantine`, `retry`, `replay`: what a person does about a study."""

import typer

from daemon.cli.database import actor, carry_out, note_reading, store_of
from daemon.cli.options import AsJson, Config, StudyUid
from daemon.cli.tables import show
from daemon.runtime.clock import now

quarantine = typer.Typer(help="Studies that need a person.", no_args_is_help=True)


@quarantine.command("list")
def quarantined(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The studies that need a person, and why."""
    store = store_of(config)
    rows = store.queries.quarantined()
    note_reading(store, context)
    show(rows, ["accession_number", "patient_id", "reason", "received_at", "attempts", "study_instance_uid"], as_json)


@quarantine.command("show")
def shown(context: typer.Context, study_uid: StudyUid, config: Config = None, as_json: AsJson = False) -> None:
    """Every step that a study took."""
    store = store_of(config)
    rows = store.queries.events(study_uid)
    note_reading(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json)


@quarantine.command()
def release(study_uid: StudyUid, config: Config = None) -> None:
    """Let the daemon try the study again."""
    carry_out(config, lambda journal: journal.release(study_uid, now(), actor()), "released")


@quarantine.command()
def discard(study_uid: StudyUid, config: Config = None) -> None:
    """Give the study up: it is marked IGNORED, and stays in the audit trail."""
    carry_out(config, lambda journal: journal.discard(study_uid, now(), actor()), "discarded")


def retry(study_uid: StudyUid, config: Config = None) -> None:
    """Deliver a study's results again at once, those that were refused too."""
    carry_out(config, lambda journal: journal.retry(study_uid, now(), actor()), "due at once")


def replay(study_uid: StudyUid, config: Config = None) -> None:
    """Analyse a study again from the spool; a result that differs becomes a new report that names the old one."""
    carry_out(config, lambda journal: journal.replay(study_uid, now(), actor()), "will be analysed again")
