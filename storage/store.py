"""All that leaves this room of the database: one `Store`, which hands out journal, queries, audit trail and outbox."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from storage.audit import Trail
from storage.database import open_database
from storage.journal import Journal
from storage.outbox import Outbox
from storage.queries import Queries
from storage.spool import no_fault


class Store:
    """One database. Made by `open_store`; each process, and each thread, may use it as it likes."""

    def __init__(self, engine: Engine, fault: Callable[[str], None] = no_fault) -> None:
        self._engine = engine
        self.journal = Journal(engine, fault)
        """Where every study stands, with the verbs that change it."""
        self.queries = Queries(engine)
        """What administrators ask."""
        self.trail = Trail(engine)
        """The audit trail: is it as it was written?"""
        self.outbox = Outbox(engine)
        """How far each reader of the audit trail has come."""

    def close(self) -> None:
        """Give the connections back; the store may still be used, and opens new ones then."""
        self._engine.dispose()


def open_store(url: str, directory: Path, fault: Callable[[str], None] = no_fault) -> Store:
    """The store in the database behind a SQLAlchemy URL, at the newest schema; "" is SQLite in `directory`.

    `fault` is called with a name before and after each commit of the journal: tests of crashes hand one in. Raises what
    `storage.database.open_database` raises.
    """
    return Store(open_database(url, directory), fault)
