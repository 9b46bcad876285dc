"""The package's one way into the database: a `Store`, which hands out the journal, queries, audit trail and outbox."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from storage.audit import Trail
from storage.database import open_database
from storage.feedback import FeedbackQueries
from storage.journal import Journal
from storage.outbox import Outbox
from storage.queries import Queries
from storage.spool import no_fault


class Store:
    """One open database, made by `open_store`. Threads may share it; a forked process must open its own."""

    def __init__(self, engine: Engine, fault: Callable[[str], None] = no_fault) -> None:
        self._engine = engine
        self.journal = Journal(engine, fault)
        """The state of every study, and the methods that change it."""
        self.queries = Queries(engine)
        """What administrators ask; reads only."""
        self.feedback = FeedbackQueries(engine)
        """What readers said of results; reads only."""
        self.trail = Trail(engine)
        """Checks whether the audit trail is still as it was written."""
        self.outbox = Outbox(engine)
        """Remembers how far each reader of the audit trail, such as a syslog server, has come."""

    def close(self) -> None:
        """Close the idle connections. The store can still be used afterwards; it then opens new ones."""
        self._engine.dispose()


def open_store(url: str, directory: Path, fault: Callable[[str], None] = no_fault) -> Store:
    """Open the database behind a SQLAlchemy URL and migrate it to the newest schema; "" is SQLite in `directory`.

    `fault` is called with a name before and after each commit of the journal, so that a test can crash there. Raises
    `DatabaseUnavailable`, `DatabaseTooNew` or `DatabaseError`, as `storage.database.open_database` does.
    """
    return Store(open_database(url, directory), fault)
