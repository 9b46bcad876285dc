"""`hilum audit` leaves a trace in the trail, works where it may only read, and says what was tampered with."""

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from daemon.cli.main import app
from daemon.runtime.person import login
from storage.audit import Trail
from storage.database import open_database, writing
from storage.journal import Journal
from storage.queries import Queries
from tests.storage.test_audit import remove_triggers
from tests.support.studies import at, image

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytest_plugins = ["tests.support.postgres"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a database that has two rows, as the environment says."""
    monkeypatch.setenv("HILUM__STORAGE__DIRECTORY", str(tmp_path))
    journal = Journal(open_database("", tmp_path))
    for number in range(2):
        journal.received(image(number=number), at(number))
    return tmp_path


def hilum(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def reads(directory: Path) -> list[str]:
    """The commands in the trail."""
    rows = Queries(open_database("", directory)).events(event="AUDIT_READ")
    assert all(row["actor"] == f"operator {login()}" for row in rows)
    return [row["detail"]["command"] for row in rows]


def test_every_query_is_in_the_trail(directory: Path) -> None:
    """Who read, and asking for what; the row is no part of what it shows."""
    shown = hilum("audit", "events", "--json", "--since", "2026-01-01")
    assert "AUDIT_READ" not in shown.stdout
    for words in (("audit", "studies", "--patient", "PÄT1"), ("audit", "deliveries"), ("audit", "verify"),
                  ("quarantine", "list"), ("quarantine", "show", "1.2.3")):  # fmt: skip
        assert hilum(*words).exit_code == 0, words
    assert reads(directory) == [
        "audit events --since=2026-01-01 --limit=1000", "audit studies --patient=PÄT1 --limit=100", "audit deliveries",
        "audit verify", "quarantine list", "quarantine show --study-uid=1.2.3",
    ]  # fmt: skip


def test_a_database_that_one_may_only_read_is_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite: a reader who cannot write gets the answer, and leaves no row."""
    read_only = f"sqlite:///file:{directory}/hilum.db?mode=ro&uri=true"
    monkeypatch.setenv("HILUM__STORAGE__DATABASE", read_only)
    done = hilum("audit", "studies", "--json")
    assert done.exit_code == 0, done.output
    assert "1.2.3" in done.stdout
    assert hilum("audit", "verify").exit_code == 0
    assert reads(directory) == []


def test_a_role_that_may_only_select_is_answered(
    postgres: "PostgresServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL: a role with SELECT alone gets the answer at once, and leaves no row."""
    url = postgres.create_database()
    engine = open_database(url, tmp_path)
    Journal(engine).received(image(), at(0))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    monkeypatch.setenv("HILUM__STORAGE__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("HILUM__STORAGE__DATABASE", url.replace("postgres@", "reader@"))
    assert "1.2.3" in hilum("audit", "studies", "--json").stdout
    monkeypatch.setenv("HILUM__STORAGE__DATABASE", url)
    assert "1.2.3" in hilum("audit", "studies", "--json").stdout
    assert len(Queries(engine).events(event="AUDIT_READ")) == 1
    engine.dispose()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")
    postgres.drop_database(url)


def test_verify_ends_with_an_anchor_that_it_takes(directory: Path) -> None:
    """The last line names a row and its digest; given back, it fits until the row is gone."""
    said = hilum("audit", "verify").stdout.split()[-1]
    number, digest = Trail(open_database("", directory)).newest()
    assert said.startswith("2:")
    assert (number, digest) != (2, said[2:]), "the query is a row, too"
    assert hilum("audit", "verify", "--anchor", said, "--anchor", f"{number}:{digest}").exit_code == 0
    wrong = hilum("audit", "verify", "--anchor", f"1:{digest}", "--anchor", f"99:{digest}")
    assert wrong.exit_code == 1
    assert "row 1: changed" in wrong.stdout
    assert "row 99: removed" in wrong.stdout
    assert hilum("audit", "verify", "--anchor", "1:short").exit_code == 2


def test_a_fault_that_verify_finds_is_a_security_event(directory: Path) -> None:
    """Exit status 1, the row named, and a row in the trail, which goes to the syslog server as an alert."""
    engine = open_database("", directory)
    with writing(engine) as connection:
        remove_triggers(connection)
        connection.execute(text("UPDATE audit SET actor = 'x' WHERE id = 1"))
    done = hilum("audit", "verify")
    assert done.exit_code == 1
    assert "row 1: changed" in done.stdout
    (row,) = Queries(engine).events(event="SECURITY")
    assert row["detail"] == {"kind": "audit-trail-altered", "faults": 1}


@pytest.mark.parametrize(("written", "expected"), [("0", "root"), ("4294967295", None), ("none", None)])
def test_who_it_was(tmp_path: Path, written: str, expected: str | None) -> None:
    """Who logged in, else the user of the process; a number where that has no name."""
    file = tmp_path / "loginuid"
    file.write_text(written)
    assert login(file) == (expected or pwd.getpwuid(os.getuid()).pw_name)
    file.write_text("4294967294")
    assert login(file) == "4294967294"
