"""Opens and migrates the database, and turns errors of the database that may pass into `DatabaseUnavailable`."""

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
from storage.private import make_file

BUSY_SECONDS = 30
"""How long a statement waits for a lock that another process holds, before the database counts as unavailable."""

_PRAGMAS = (
    # busy_timeout comes first, because the others may have to wait for another process.
    f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)


def open_database(url: str, directory: Path) -> Engine:
    """Open the database behind a SQLAlchemy URL and migrate it to the newest schema; "" is SQLite in `directory`.

    Several processes may do so at the same time. Raises `DatabaseUnavailable` if it cannot be reached, `DatabaseTooNew`
    if a later version of hilum wrote it, and `DatabaseError` for a URL that names no usable database.
    """
    complete = _complete(url, directory)
    if not complete.query:  # a URL with mode=ro makes no file
        for file in _files(complete)[:1]:
            with suppress(OSError):  # SQLite says what is wrong
                make_file(file)  # SQLite gives its -wal and -shm the mode of the database
    engine = _engine(complete)
    try:
        with reading(engine) as connection:
            current = is_current(connection)
        if not current:  # a current schema can be opened by a user who may only read
            with writing(engine) as connection:
                migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def database_files(url: str, directory: Path) -> list[Path]:
    """Return the files of an SQLite database, whether they exist or not; none for PostgreSQL.

    Raises `DatabaseError` as `open_database` does.
    """
    return _files(_complete(url, directory))


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes. It is committed at the end of the block, and undone if the block raises.

    Only one process writes at a time; the others wait. Raises `DatabaseUnavailable` for an error that may pass.
    """
    with _database_trouble(), _turn(engine):
        connection = engine.connect().execution_options(hilum_writes=True)
        with connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(_TAKE_TURN)
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that reads and never waits for a writer.

    Raises `DatabaseUnavailable` for an error that may pass.
    """
    with _database_trouble(), engine.connect() as connection, connection.begin():
        yield connection


# On PostgreSQL this advisory lock lets one transaction write at a time, because each audit row needs the digest of the
# row before it. The lock ends with the transaction. Its number is "hilum" in ASCII.
_TAKE_TURN = text("SELECT pg_advisory_xact_lock(448411854189)")


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Wait for SQLite's write lock in order of arrival, by flock() on the database's directory.

    BEGIN IMMEDIATE alone would be safe, but processes that wait for it poll with pauses of up to 100 ms and may never
    get their turn. flock() costs microseconds, needs no file of its own, and is released when the process ends. On a
    file system without flock() the polling remains.
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
    """Return the URL, with psycopg as PostgreSQL's driver. Raises `DatabaseError` if it names no usable database."""
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


def _files(url: URL) -> list[Path]:
    if url.get_backend_name() != "sqlite" or not url.database:
        return []
    database = url.database.removeprefix("file:")
    return [Path(database + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


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
        # These four make a server that vanished without closing the connection noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_size=16, max_overflow=48)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # switches off the implicit BEGIN of sqlite3; _begin_sqlite says BEGIN
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    # The journal mode is stored in the file, so only the first process has to set it.
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
"""Primary result codes of SQLite for which a later attempt may succeed. https://www.sqlite.org/rescode.html"""

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
"""SQLSTATE classes and codes for which a later attempt may succeed. PostgreSQL manual, Appendix A."""


@contextmanager
def _database_trouble() -> Iterator[None]:
    """The one place where a database error that may pass becomes `DatabaseUnavailable`; other errors are passed on."""
    try:
        yield
    except PoolTimeout:
        raise DatabaseUnavailable("the database cannot be used: all connections are busy") from None
    except DBAPIError as error:
        reason = _passing(error.orig, error.connection_invalidated)
        if reason is None:
            error.hide_parameters = True  # they hold patient data, and the error may be printed
            raise
        raise DatabaseUnavailable(f"the database cannot be used: {reason}") from error.orig


def _passing(error: Any, invalidated: bool) -> str | None:
    """Return why a later attempt may succeed, as the end of a sentence; None if it will not succeed."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return PASSING_SQLITE.get(code & 0xFF) if code is not None else None  # the low byte is the primary code
    if isinstance(error, psycopg.Error) and error.sqlstate:
        state = error.sqlstate
        return PASSING_POSTGRESQL.get(state) or PASSING_POSTGRESQL.get(state[:2])
    if isinstance(error, psycopg.OperationalError) or invalidated:
        return "the server cannot be reached"  # errors of libpq itself have no SQLSTATE
    return None
