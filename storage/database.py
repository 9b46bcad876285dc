"""The database: opened, migrated, and the one border where its trouble becomes ours."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import DatabaseError, DatabaseUnavailable
from storage.migrate import is_current, migrate

BUSY_SECONDS = 30

_PRAGMAS = (
    # busy_timeout first: the others may have to wait for another process.
    f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)


def open_database(url: str, directory: Path) -> Engine:
    """The database behind a SQLAlchemy URL, at the newest schema; "" is SQLite in `directory`.

    Several processes may open it at the same time. Raises `DatabaseUnavailable` where it cannot be reached,
    `DatabaseTooNew` where a later version of hilum wrote it, `DatabaseError` for a URL that cannot serve.
    """
    engine = _engine(_complete(url, directory))
    try:
        with reading(engine) as connection:
            current = is_current(connection)
        if not current:  # else whoever only asks needs no right to write
            with writing(engine) as connection:
                migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: committed at the end, undone on an exception; one at a time over all processes.

    Raises `DatabaseUnavailable` for trouble that passes.
    """
    with _database_trouble(), _turn(engine):
        connection = engine.connect().execution_options(hilum_writes=True)
        with connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(_TAKE_TURN)
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads: never waits for a writer. Raises `DatabaseUnavailable` for trouble that passes."""
    with _database_trouble(), engine.connect() as connection, connection.begin():
        yield connection


# Writers on PostgreSQL take turns by this advisory lock, which ends with the transaction: each audit row needs the
# digest of the one before it. The number is "hilum" in ASCII.
_TAKE_TURN = text("SELECT pg_advisory_xact_lock(448411854189)")


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Queue for SQLite's write lock in order of arrival, by flock() on the database's directory.

    BEGIN IMMEDIATE alone is safe, but its waiters poll with pauses of up to 100 ms and may starve. This queue costs
    microseconds, is no file, and ends with the process. Where the file system has no flock(), polling remains.
    """
    if engine.dialect.name != "sqlite" or not engine.url.database:
        yield
        return
    with ExitStack() as held:
        with suppress(OSError):
            descriptor = os.open(Path(engine.url.database).parent, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _complete(url: str, directory: Path) -> URL:
    """The URL with what hilum needs: a file for SQLite, psycopg for PostgreSQL."""
    try:
        parsed = make_url(url or f"sqlite:///{directory / 'hilum.db'}")
    except SQLAlchemyError as error:
        raise DatabaseError("storage.database is not a SQLAlchemy URL, e.g. postgresql://user@host/hilum") from error
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise DatabaseError(f"found {backend} in storage.database, expected sqlite or postgresql")
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseError("storage.database is in memory, expected a file: several processes share it")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=16, max_overflow=48)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    arguments = {
        "connect_timeout": 5,
        "application_name": "hilum",
        "options": f"-c lock_timeout={BUSY_SECONDS}s",
        # A server that vanished without a word is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_size=16, max_overflow=48)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    # Kept in the file, so only the first process changes it.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("hilum_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


PASSING_SQLITE = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_PROTOCOL: "it is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_READONLY: "its file is read-only",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_PERM: "permission is denied",
    sqlite3.SQLITE_NOMEM: "memory ran out",
}
"""Primary result codes of SQLite that a later try may not meet again. https://www.sqlite.org/rescode.html"""

PASSING_POSTGRESQL = {
    "08": "the connection broke",
    "25006": "it takes no writes",
    "42501": "permission is denied",
    "40": "two transactions collided",
    "53": "the server lacks room, memory or connections",
    "55P03": "it is locked",
    "57": "the server shuts down, starts or cancelled the statement",
    "58": "the server reports a system error",
}
"""SQLSTATE classes and codes of PostgreSQL that a later try may not meet again. PostgreSQL manual, Appendix A."""


@contextmanager
def _database_trouble() -> Iterator[None]:
    """The one border where trouble of the database becomes `DatabaseUnavailable`. The cause keeps no parameters."""
    try:
        yield
    except PoolTimeout:
        raise DatabaseUnavailable("the database cannot be used: all connections are busy") from None
    except DBAPIError as error:
        reason = _passing(error.orig, error.connection_invalidated)
        if reason is None:
            error.hide_parameters = True  # they hold patient data, and this error may be printed
            raise
        raise DatabaseUnavailable(f"the database cannot be used: {reason}") from error.orig


def _passing(error: Any, invalidated: bool) -> str | None:
    """Why a later try may succeed; None where it will not."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return PASSING_SQLITE.get(code & 0xFF) if code is not None else None  # the low byte is the primary code
    if isinstance(error, psycopg.Error) and error.sqlstate:
        state = error.sqlstate
        return PASSING_POSTGRESQL.get(state) or PASSING_POSTGRESQL.get(state[:2])
    if isinstance(error, psycopg.OperationalError) or invalidated:
        return "the server is not to be reached"  # libpq's own errors carry no SQLSTATE
    return None
