"""The database: migrated once by many, writers in turn, and trouble that passes named as such."""

import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from storage.database import PASSING_SQLITE, _passing, open_database, reading, writing
from storage.errors import DatabaseError, DatabaseTooNew, DatabaseUnavailable
from storage.journal import Journal
from storage.schema import Base
from tests.conftest import wait_for
from tests.support.studies import at, image

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytest_plugins = ["tests.support.postgres"]


def test_migrations_make_what_the_schema_says(database_url: str, tmp_path: Path) -> None:
    """The migrations and the table classes are the same schema, on both databases."""
    with reading(open_database(database_url, tmp_path)) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def _open(url: str, directory: Path, number: int) -> None:
    journal = Journal(open_database(url, directory))
    for image_number in range(20):
        journal.received(image(f"1.2.{number}", image_number), at(0))


def test_many_processes_start_on_an_empty_database(database_url: str, tmp_path: Path) -> None:
    """Processes that start together on an empty database all find it migrated, and all their writes arrive."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(database_url, tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    engine = open_database(database_url, tmp_path)
    assert Journal(engine).counts()["RECEIVED"] == 4
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM instance")).scalar() == 80


def test_sqlite_is_durable(tmp_path: Path) -> None:
    """SQLite runs in WAL mode, syncs at every commit and checks foreign keys."""
    with reading(open_database("", tmp_path)) as connection:
        names = ("journal_mode", "synchronous", "foreign_keys")
        pragmas = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]
    assert pragmas == ["wal", 2, 1]
    assert (tmp_path / "hilum.db").is_file()


def test_a_later_version_is_refused(database_url: str, tmp_path: Path) -> None:
    """A database that a later version wrote is left alone, and the message says what to do."""
    with writing(open_database(database_url, tmp_path)) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="found schema 9999"):
        open_database(database_url, tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [("nonsense", "not a SQLAlchemy URL"), ("mysql://h/d", "found mysql"), ("sqlite://", "in memory")],
)
def test_a_url_that_cannot_serve_is_refused(url: str, said: str, tmp_path: Path) -> None:
    """The message names the setting and what was expected."""
    with pytest.raises(DatabaseError, match=said):
        open_database(url, tmp_path)


def test_writers_take_turns(database_url: str, tmp_path: Path) -> None:
    """A second writer waits for the first and then sees its changes: nothing is lost between read and write."""
    engine = open_database(database_url, tmp_path)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO outbox (reader, audit_id) VALUES ('x', 0)"))

    def count() -> None:
        for _ in range(25):
            with writing(engine) as connection:
                value = connection.execute(text("SELECT audit_id FROM outbox")).scalar_one()
                time.sleep(0.0005)
                connection.execute(text("UPDATE outbox SET audit_id = :v"), {"v": value + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT audit_id FROM outbox")).scalar() == 100


def test_a_writer_has_the_lock_from_its_beginning(tmp_path: Path) -> None:
    """A transaction that will write never finds, half-way, that another wrote what it had read."""
    engine = open_database("", tmp_path)
    other = sqlite3.connect(tmp_path / "hilum.db", isolation_level=None, timeout=0)
    with writing(engine), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")


def test_a_current_database_opens_while_somebody_writes(database_url: str, tmp_path: Path) -> None:
    """Who only asks waits for nobody, at the opening neither."""
    engine = open_database(database_url, tmp_path)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO outbox (reader, audit_id) VALUES ('x', 1)"))
        assert Journal(open_database(database_url, tmp_path)).counts()["RECEIVED"] == 0


def test_a_reader_does_not_wait_for_a_writer(database_url: str, tmp_path: Path) -> None:
    """While a writer works a reader sees what was committed before."""
    engine = open_database(database_url, tmp_path)
    with writing(engine) as writer, reading(engine) as reader:
        writer.execute(text("INSERT INTO outbox (reader, audit_id) VALUES ('x', 1)"))
        assert reader.execute(text("SELECT count(*) FROM outbox")).scalar() == 0


def test_an_exception_undoes_the_transaction(database_url: str, tmp_path: Path) -> None:
    """Whatever is raised inside, nothing of the transaction stays."""
    engine = open_database(database_url, tmp_path)

    def fall() -> None:
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO outbox (reader, audit_id) VALUES ('x', 1)"))
            raise KeyError

    with pytest.raises(KeyError):
        fall()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar() == 0


# --- trouble that passes -------------------------------------------------------------------------------------------


def test_a_locked_sqlite_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    """A foreign program that holds the lock makes `DatabaseUnavailable`, not a crash; afterwards all is well."""
    engine = open_database("", tmp_path)
    with reading(engine) as connection:  # the one connection in the pool, made impatient
        connection.execute(text("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(tmp_path / "hilum.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        Journal(engine).received(image(), at(0))
    other.execute("ROLLBACK")
    assert Journal(engine).received(image(), at(0)) == "NEW"


def test_a_full_database_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    """A database that cannot grow makes `DatabaseUnavailable`; what was committed stays, and later writes work."""
    engine = open_database("", tmp_path)
    journal = Journal(engine)
    with reading(engine) as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages + 3}"))
    stored = []

    def fill() -> None:
        for number in range(10_000):
            journal.received(image(f"1.2.{number}"), at(0))
            stored.append(number)

    with pytest.raises(DatabaseUnavailable, match="full"):
        fill()
    with reading(engine) as connection:
        connection.execute(text("PRAGMA max_page_count = 1000000"))
    assert journal.counts()["RECEIVED"] == len(stored)
    assert journal.received(image("9.9"), at(0)) == "NEW"


def test_a_postgresql_that_goes_and_comes_back(postgres: "PostgresServer", tmp_path: Path) -> None:
    """While the server is away every verb says `DatabaseUnavailable`; once it is back the same journal works on."""
    journal = Journal(open_database(postgres.create_database(), tmp_path))
    journal.received(image(number=1), at(0))
    postgres.stop()
    try:
        for verb in (lambda: journal.received(image(number=2), at(0)), journal.counts):
            with pytest.raises(DatabaseUnavailable):
                verb()
    finally:
        postgres.start()

    def again() -> bool:
        try:
            return bool(journal.received(image(number=2), at(0)))
        except DatabaseUnavailable:
            return False

    wait_for(again, what="the journal to work again")
    assert journal.counts()["RECEIVED"] == 1


def test_a_connection_killed_in_mid_transaction_passes(postgres: "PostgresServer", tmp_path: Path) -> None:
    """The server ends our session while a transaction is open: `DatabaseUnavailable`, nothing half-done."""
    engine = open_database(postgres.create_database(), tmp_path)

    def lose_the_connection() -> None:
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO outbox (reader, audit_id) VALUES ('x', 1)"))
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(engine.url.set(drivername="postgresql").render_as_string()) as killer:
                killer.execute("SELECT pg_terminate_backend(%s)", [own])
            connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        lose_the_connection()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar() == 0


def test_nobody_there_is_trouble_that_passes(tmp_path: Path) -> None:
    """A server that does not answer, and a directory that cannot be used, are both named at start."""
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        open_database("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/absent/hilum.db", tmp_path)


def test_every_result_code_of_sqlite_is_decided() -> None:
    """No primary result code is forgotten: it passes, or it is a fault of ours or of the file."""
    lasting = {"OK", "ERROR", "INTERNAL", "ABORT", "INTERRUPT", "CORRUPT", "NOTFOUND", "EMPTY", "SCHEMA", "TOOBIG"}
    lasting |= {"CONSTRAINT", "MISMATCH", "MISUSE", "NOLFS", "AUTH", "FORMAT", "RANGE", "NOTADB", "NOTICE", "WARNING"}
    decided = {getattr(sqlite3, f"SQLITE_{name}") for name in lasting}
    assert decided | set(PASSING_SQLITE) == set(range(29))
    assert not decided & set(PASSING_SQLITE)


def test_operational_errors_of_psycopg_are_decided() -> None:
    """Each error that psycopg calls operational is decided: it passes, or a later try would meet it again."""
    lasting = {"27", "28", "2F", "38", "39", "3B", "3D", "54", "55", "F0", "HV"}
    for name in dir(psycopg.errors):
        kind = getattr(psycopg.errors, name)
        state = getattr(kind, "sqlstate", None)
        if isinstance(kind, type) and issubclass(kind, psycopg.OperationalError) and state:
            passes = _passing(kind(""), False) is not None
            assert passes == (state[:2] not in lasting or state == "55P03"), name
    assert _passing(psycopg.errors.ReadOnlySqlTransaction(""), False)
    assert _passing(psycopg.errors.UndefinedTable(""), False) is None


def test_a_fault_of_ours_is_not_called_passing(database_url: str, tmp_path: Path) -> None:
    """A wrong statement stays the error it is, and its text shows no parameters: they may be a patient's."""
    engine = open_database(database_url, tmp_path)
    with pytest.raises((OperationalError, ProgrammingError)) as caught, reading(engine) as connection:
        connection.execute(text("SELECT * FROM nowhere WHERE patient_id = :p"), {"p": "DOE^JOHN"})
    assert "DOE" not in str(caught.value)


def test_waiting_verbs_use_their_index(tmp_path: Path) -> None:
    """What workers ask all the time is answered from an index in its order, without reading or sorting the table."""
    engine = open_database("", tmp_path)
    journal = Journal(engine)
    journal.received(image(), at(0))
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: asked.append(sql))
    journal.settled(at(0), 3.0, 8, "worker")
    journal.due("pacs", at(0), 16)
    journal.next_due("pacs")
    plans = []
    with reading(engine) as connection:
        for sql in [sql for sql in asked if sql.startswith("SELECT")]:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", ("x",) * sql.count("?")).all()
            plans.append(" ".join(row[3] for row in rows))
    assert [plan.split("INDEX ")[1].split()[0] for plan in plans] == ["ix_study_open"] + ["ix_delivery_due"] * 2
    assert not any("TEMP B-TREE" in plan for plan in plans)
