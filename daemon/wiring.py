"""What the parts are made of: each function opens one thing from the settings."""

import socket
from pathlib import Path

from sqlalchemy import Engine

from config.settings import Destination, Settings
from daemon.decisions import CannotWork
from storage.database import open_database
from storage.journal import Journal
from storage.spool import Spool


def open_spool(settings: Settings) -> Spool:
    """The spool in `storage.directory`. Raises CannotWork where it cannot be made or written."""
    try:
        return Spool(settings.storage.directory / "spool")
    except OSError as error:
        raise CannotWork(f"storage.directory {settings.storage.directory}: {error.strerror}") from error


def open_engine(settings: Settings) -> Engine:
    """The database, migrated to this version's schema. Raises CannotWork where its URL is no good."""
    try:
        settings.storage.directory.mkdir(parents=True, exist_ok=True)
        return open_database(settings.storage.database_url(), settings.storage.directory)
    except OSError as error:
        raise CannotWork(f"storage.directory {settings.storage.directory}: {error.strerror}") from error


def open_journal(settings: Settings) -> Journal:
    """The journal in that database."""
    return Journal(open_engine(settings))
