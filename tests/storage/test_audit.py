"""The audit trail: nobody changes, removes or inserts a row unnoticed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from storage import audit
from storage.audit import Trail, TrailFault
from storage.database import open_database, writing
from storage.journal import Journal
from storage.outbox import Outbox
from storage.queries import Queries
from tests.support.studies import analysed, at, deliver, image

pytest_plugins = ["tests.support.postgres"]

ROWS = 7


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Engine:
    """A database with seven audit rows."""
    engine = open_database(database_url, tmp_path)
    journal = Journal(engine)
    for number in range(ROWS - 1):
        journal.received(image(number=number, patient_id="ü\0"), at(number))
    journal.record("SECURITY", at(ROWS), detail={"why": "not on the list", "ratio": 0.1, "é": ["\ud800", None]})
    return engine


def tamper(engine: Engine, *statements: str) -> None:
    """What somebody with all rights does: takes the triggers away, then writes."""
    with writing(engine) as connection:
        remove_triggers(connection)
        for statement in statements:
            connection.execute(text(statement))


def remove_triggers(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
    else:
        connection.execute(text("DROP FUNCTION audit_refuse() CASCADE"))


def reseal(number: int, event: str) -> Callable[[Engine], None]:
    """Change a row and make its digest fit: what a careful forger does."""

    def forge(engine: Engine) -> None:
        tamper(engine, f"UPDATE audit SET event = '{event}' WHERE id = {number}")
        with writing(engine) as connection:
            row = next(r for r in audit._rows(connection) if r["id"] == number)
            digest = audit.seal(row, row["at"], row["detail"])
            connection.execute(text(f"UPDATE audit SET digest = '{digest}' WHERE id = {number}"))

    return forge


def named(faults: list[TrailFault]) -> list[tuple[int, str]]:
    return [(fault.id, fault.kind) for fault in faults]


def test_an_untouched_trail_is_sound(engine: Engine) -> None:
    """No fault where nobody touched anything, whatever characters the rows hold."""
    assert Trail(engine).verify() == []
    assert len(Queries(engine).events()) == ROWS


@pytest.mark.parametrize(
    "column",
    ["at", "event", "study_instance_uid", "sop_instance_uid", "actor", "from_state", "to_state", "detail", "previous"],
)
def test_a_changed_row_is_named(engine: Engine, column: str) -> None:
    """Whichever value is changed, the row is named."""
    value = "2020-01-01T00:00:00.000000+00:00" if column == "at" else "other"
    tamper(engine, f"UPDATE audit SET {column} = '{value}' WHERE id = 3")
    assert named(Trail(engine).verify()) == [(3, "changed")]


def test_a_changed_row_whose_digest_fits_is_named(engine: Engine) -> None:
    """The row after it vouches for what it was."""
    reseal(3, "OTHER")(engine)
    assert named(Trail(engine).verify()) == [(3, "changed")]


def test_a_changed_last_row_whose_digest_fits_is_named(engine: Engine) -> None:
    """The last row has no row after it: the head vouches for it."""
    reseal(ROWS, "OTHER")(engine)
    assert named(Trail(engine).verify()) == [(ROWS, "changed")]


@pytest.mark.parametrize(
    ("which", "first", "said"),
    [
        ("id = 3", 3, "row 3 is missing"),
        ("id IN (1, 2)", 1, "rows 1 to 2 are missing"),
        (f"id = {ROWS}", ROWS, f"row {ROWS} is missing"),
        ("id > 0", 1, f"rows 1 to {ROWS} are missing"),
    ],
)
def test_a_removed_row_is_named(engine: Engine, which: str, first: int, said: str) -> None:
    """Rows removed at the start, in the middle or at the end are named."""
    tamper(engine, f"DELETE FROM audit WHERE {which}")
    (fault,) = Trail(engine).verify()
    assert (fault.id, fault.kind, fault.detail) == (first, "removed", said)


COPY = (
    "INSERT INTO audit SELECT {to}, at, event, study_instance_uid, sop_instance_uid, actor, from_state, to_state, "
    "detail, previous, digest FROM audit WHERE id = 4"
)


@pytest.mark.parametrize("number", [0, -5, ROWS + 1, ROWS + 100])
def test_an_inserted_row_is_named(engine: Engine, number: int) -> None:
    """A row before the first or after the last is named; the next honest row does not hide it."""
    tamper(engine, COPY.format(to=number))
    assert named(Trail(engine).verify()) == [(number, "inserted")]


def test_a_row_put_in_the_place_of_another_is_named(engine: Engine) -> None:
    """A removed row with another in its place, whose own digest fits, is found."""
    tamper(engine, "DELETE FROM audit WHERE id = 3", COPY.format(to=3))
    with writing(engine) as connection:
        row = next(r for r in audit._rows(connection) if r["id"] == 3)
        digest = audit.seal(row, row["at"], row["detail"])
        connection.execute(text(f"UPDATE audit SET digest = '{digest}' WHERE id = 3"))
    assert named(Trail(engine).verify()) == [(3, "inserted")]


def test_several_faults_are_all_named(engine: Engine) -> None:
    """One fault does not hide the next."""
    tamper(engine, "DELETE FROM audit WHERE id = 2", "UPDATE audit SET actor = 'x' WHERE id = 5")
    assert named(Trail(engine).verify()) == [(2, "removed"), (5, "changed")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'x' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET id = id - 1",
        "UPDATE audit_head SET id = id",
    ],
)
def test_triggers_refuse_changes(engine: Engine, statement: str) -> None:
    """Whoever has the rights of the daemon, or makes a mistake in psql or sqlite3, changes nothing."""
    with pytest.raises(DBAPIError, match="append-only"):
        _execute(engine, statement)
    assert Trail(engine).verify() == []


def _execute(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(statement))


def test_triggers_refuse_what_goes_around_them(engine: Engine) -> None:
    """REPLACE on SQLite and TRUNCATE on PostgreSQL ask no trigger for DELETE: they are refused as well."""
    replace = COPY.format(to=3).replace("INSERT", "INSERT OR REPLACE")
    statement = replace if engine.dialect.name == "sqlite" else "TRUNCATE audit"
    with pytest.raises(DBAPIError, match="append-only"):
        _execute(engine, statement)
    assert Trail(engine).verify() == []


def test_a_reader_gets_every_row_once(engine: Engine) -> None:
    """A syslog server gets each row at least once and in order, from where it confirmed, after a restart too."""
    first = Outbox(engine).pending("syslog", 4)
    assert [row.id for row in first] == [1, 2, 3, 4]
    assert (first[0].at, first[0].event, first[0].detail["peer_address"]) == (at(0), "RECEIVED", "127.0.0.1")
    assert Outbox(engine).pending("syslog", 4) == first, "not confirmed yet"
    assert Outbox(engine).waiting("syslog") == ROWS
    Outbox(engine).confirm("syslog", 4)
    assert Outbox(engine).waiting("syslog") == ROWS - 4
    assert [row.id for row in Outbox(engine).pending("syslog", 99)] == [5, 6, 7]
    Outbox(engine).confirm("syslog", 7)
    assert Outbox(engine).pending("syslog", 99) == []
    assert Outbox(engine).waiting("syslog") == 0
    assert len(Outbox(engine).pending("other", 99)) == ROWS


def test_a_reader_is_told_whose_study_it_is_and_what_goes_where(database_url: str, tmp_path: Path) -> None:
    """With its row a reader gets the patient, and the result objects with the destinations that they are for."""
    engine = open_database(database_url, tmp_path)
    journal = Journal(engine)
    analysed(journal, "1.5", "pacs", "archive")
    deliver(journal, "pacs")
    entries = {(e.event, e.actor): e for e in Outbox(engine).pending("syslog", 99)}
    assert {(e.patient_id, e.accession_number) for e in entries.values()} == {("PAT1", "ACC1")}
    comprehensive_3d = "1.2.840.10008.5.1.4.1.1.88.34"
    begun = [(to, comprehensive_3d, "1.5.9") for to in ("pacs", "archive")]
    assert [(s.destination, s.sop_class_uid, s.sop_instance_uid) for s in entries["ANALYSED", "hilum"].begun] == begun
    assert entries["SENT", "pacs"].sop_class_uid == comprehensive_3d
    assert not entries["SENT", "pacs"].begun


def test_the_database_is_named_without_its_password() -> None:
    """What goes out as the audit log's name holds neither user nor password."""
    url = "postgresql+psycopg://hilum:secret@db.example:5432/hilum?sslpassword=secret"
    assert Outbox(create_engine(url)).uri() == "postgresql://db.example:5432/hilum"


def test_a_trail_cut_off_with_its_head_is_found_by_a_kept_digest(engine: Engine) -> None:
    """Somebody with all rights who removes the last rows and sets the head back leaves a sound chain: a digest that
    was kept elsewhere shows it, and one that still fits does not complain."""
    third, last = Outbox(engine).pending("syslog", 99)[2], Trail(engine).newest()
    assert last[0] == ROWS
    tamper(engine, "DELETE FROM audit WHERE id > 5", "UPDATE audit_head SET id = 5, digest = (SELECT digest FROM audit "
           "WHERE id = 5)")  # fmt: skip
    assert Trail(engine).verify() == []
    assert named(Trail(engine).verify({third.id: third.digest.upper(), last[0]: last[1]})) == [(ROWS, "removed")]


def test_a_trail_written_anew_is_found_by_a_kept_digest(engine: Engine) -> None:
    """A forger who seals a changed row and all later ones anew is found by a digest that was kept elsewhere."""
    kept = {row.id: row.digest for row in Outbox(engine).pending("syslog", 99)}
    tamper(engine, "UPDATE audit SET actor = 'x' WHERE id = 3")
    with writing(engine) as connection:
        previous = kept[2]
        for row in [dict(r) for r in audit._rows(connection) if r["id"] > 2]:
            row["previous"] = previous
            digest = audit.seal(row, row["at"], row["detail"])
            connection.execute(text(f"UPDATE audit SET previous = '{previous}', digest = '{digest}' "
                                    f"WHERE id = {row['id']}"))  # fmt: skip
            previous = digest
        connection.execute(text(f"UPDATE audit_head SET digest = '{previous}'"))
    assert Trail(engine).verify() == []
    assert named(Trail(engine).verify({2: kept[2], 6: kept[6]})) == [(6, "changed")]


def test_a_long_trail_is_checked_in_pieces(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read in pieces; a fault beyond the first piece is found as well."""
    monkeypatch.setattr(audit, "_CHUNK", 2)
    assert Trail(engine).verify() == []
    tamper(engine, "UPDATE audit SET actor = 'x' WHERE id = 6")
    assert named(Trail(engine).verify()) == [(6, "changed")]
