"""What the commands that use the database share: opening it, and recording who did what."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from daemon.cli.options import settings_of
from daemon.cli.tables import say
from daemon.runtime.clock import now
from daemon.runtime.person import login
from storage.errors import DatabaseError, StorageError
from storage.journal import Journal
from storage.store import Store, open_store


def store_of(config: Path | None) -> Store:
    """Open the configured database. If that fails, print a sentence on standard error and exit with status 2."""
    settings = settings_of(config)
    try:
        return open_store(settings.storage.database_url(), settings.storage.directory)
    except (StorageError, OSError) as fault:
        say(str(fault), err=True)
        raise typer.Exit(2) from None


def note_reading(store: Store, context: typer.Context) -> None:
    """Record in the audit trail who read it, with which command; nothing if the user may only read the database."""
    asked = {k: v for k, v in context.params.items() if v and k not in ("config", "as_json", "as_csv")}
    command = f"{context.parent.info_name if context.parent else ''} {context.info_name}".lstrip()
    words = " ".join([command, *(f"--{name.replace('_', '-')}={value}" for name, value in asked.items())])
    note(store, "AUDIT_READ", {"command": words})


def note(store: Store, event: str, detail: dict[str, Any]) -> None:
    """Add a row to the audit trail, if this user may write to the database."""
    with suppress(DatabaseError):
        store.journal.record(event, now(), actor=actor(), detail=detail)


def actor() -> str:
    """Return the person at the keyboard, as named in the audit trail."""
    return f"operator {login()}"


def carry_out(config: Path | None, action: Callable[[Journal], int | None], done: str) -> None:
    """Call `action` with the journal and print `done`, after the number that it returned, if any.

    If the action is refused, print the reason on standard error and exit with status 1.
    """
    try:
        number = action(store_of(config).journal)
    except StorageError as fault:
        say(str(fault), err=True)
        raise typer.Exit(1) from None
    say(done if number is None else f"{number} {done}")
