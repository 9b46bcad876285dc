"""Runs Alembic with the migrations of this package, inside the caller's transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from storage.errors import DatabaseTooNew


def is_current(connection: Connection) -> bool:
    """Return whether the schema is at the newest version."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == head


def migrate(connection: Connection) -> None:
    """Bring the schema to the newest version. Raises `DatabaseTooNew` for a version that this hilum does not know.

    The caller has an open `storage.database.writing` transaction, so that two processes that start together do not
    migrate at the same time.
    """
    config = _config()
    script = ScriptDirectory.from_config(config)
    found = MigrationContext.configure(connection).get_current_revision()
    if found == script.get_current_head():
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseTooNew(
            f"found schema {found} in the database, expected one of {', '.join(sorted(known))}: "
            "a later version of hilum wrote it; run that version, or restore a backup"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
