"""`hilum alerts`: tries what tells people and programs of urgent studies."""

from contextlib import suppress
from typing import Annotated

import typer

from daemon.cli.database import actor
from daemon.cli.options import Config, settings_of
from daemon.cli.tables import say
from daemon.decisions import CannotWork
from daemon.runtime.clock import now
from storage.errors import StorageError

alerts = typer.Typer(help="Try the notifiers, which tell of urgent studies.", no_args_is_help=True)


@alerts.callback()
def group() -> None:
    """Keep `test` a command of its own although it is the only one."""


@alerts.command("test")
def try_notifier(
    name: Annotated[str, typer.Argument(help="The name of a [[notifier]] table.")], config: Config = None
) -> None:
    """Send a test message, which names no study, and say what came of it. The exit status is 1 if it failed."""
    from daemon.alerting.message import trial_message
    from daemon.alerting.notifiers import open_notifier

    settings = settings_of(config)
    found = next((notifier for notifier in settings.notifier if notifier.name == name), None)
    if found is None:
        names = ", ".join(notifier.name for notifier in settings.notifier) or "none"
        say(f"there is no notifier {name}; the configuration has {names}", err=True)
        raise typer.Exit(2)
    try:
        message = trial_message(now(), settings.dicom.ae_title)
        sent = open_notifier(found).send(message, now())
    except CannotWork as fault:
        say(str(fault), err=True)
        raise typer.Exit(2) from None
    _note(config, name, message.id, str(sent.outcome), sent.comment)
    arrived = sent.outcome in ("ACCEPTED", "WARNING")
    words = f"{name}: {'sent' if arrived else 'not sent'}{': ' + sent.comment if sent.comment else ''}"
    say(words, err=not arrived)
    raise typer.Exit(0 if arrived else 1)


def _note(config: Config, name: str, message_id: str, outcome: str, comment: str) -> None:
    """Record the test in the audit trail, if this user may write to the database."""
    from daemon.wiring import open_store

    detail = {"test": True, "notifier": name, "message_id": message_id, "outcome": outcome, "comment": comment}
    with suppress(StorageError, CannotWork, OSError):
        open_store(settings_of(config)).journal.record("NOTIFICATION", now(), actor=actor(), detail=detail)
