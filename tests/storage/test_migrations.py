"""Databases that earlier versions wrote: nothing is lost on the way to the schema of today."""

from pathlib import Path

from sqlalchemy import Engine, text

from storage.database import open_database, reading, writing
from storage.journal import Journal
from storage.queries import Queries
from tests.support.old_database import at_revision, fill_0007, result
from tests.support.studies import at, image, take_up

pytest_plugins = ["tests.support.postgres"]


def filled(url: str, directory: Path, studies: int) -> Engine:
    """A database of before there was a row for each analysis, brought to the schema of today."""
    old = at_revision(url, directory, "0007")
    with writing(old) as connection:
        fill_0007(connection, studies)
    old.dispose()
    return open_database(url, directory)


def test_analyses_come_from_the_audit_trail(database_url: str, tmp_path: Path) -> None:
    """Each analysis that ended has its row, the last one with what it said; an untold one comes from the study."""
    queries = Queries(filled(database_url, tmp_path, 4))
    first, second = queries.analyses("1.2.1")
    assert [(a["revision"], a["bundle_version"], a["bundle_digest"], a["current"]) for a in (first, second)] == [
        (1, "1", "sha256:a", 0), (2, "2", "sha256:b", 1),
    ]  # fmt: skip
    assert (first["findings"], second["findings"]) == ([], result("above", "")["findings"])
    assert (second["bundle_name"], second["ended_at"]) == ("chest", at(600).isoformat())
    (untold,) = queries.analyses("1.2.3")
    assert (untold["bundle_digest"], untold["findings"]) == ("sha256:b", second["findings"])
    assert queries.analyses("1.2.4") == []


def test_queries_answer_as_before(database_url: str, tmp_path: Path) -> None:
    """The studies, their findings, the results of their images and the filter by finding are what they were."""
    queries = Queries(filled(database_url, tmp_path, 4))
    assert [len(row["findings"]) for row in queries.studies()] == [0, 1, 1, 1]
    assert {row["study_instance_uid"] for row in queries.studies(finding="effusion")} == {"1.2.1", "1.2.2", "1.2.3"}
    assert queries.results("1.2.1") == [result("above", "sha256:b")]
    assert queries.results("1.2.4") == [
        {"file": "1.2.4", "analysed": False, "reason": "not analysed yet"},
    ]
    assert len(queries.deliveries("1.2.1")) == 1


def test_earlier_results_keep_their_model(database_url: str, tmp_path: Path) -> None:
    """The next analysis of a study is told of both earlier results, each with the version of its model."""
    journal = Journal(filled(database_url, tmp_path, 3))
    journal.received(image("1.2.1", number=7), at(700))
    study = next(one for one in take_up(journal, 800) if one.study_instance_uid == "1.2.1")
    assert [(made.sop_instance_uid, made.model) for made in study.earlier] == [("1.2.1.1", "1"), ("1.2.1.2", "2")]


def test_results_of_an_earlier_version_have_the_names_of_today(database_url: str, tmp_path: Path) -> None:
    """Calls that were stored under their former names have those of today, in summaries and in results."""
    old = at_revision(database_url, tmp_path, "0004")
    with writing(old) as connection:
        fill_0007(connection, 3)
        for table, column in (("finding", "content"), ("instance", "result")):
            former = f"replace(replace({column}, ' ', ''), 'above\"', 'present\"')"
            connection.execute(text(f"UPDATE {table} SET {column} = {former}"))
        connection.execute(text("UPDATE finding SET call = 'present'"))
        said = connection.execute(text("SELECT content FROM finding WHERE study_id = 1")).scalar_one()
        assert '"call":"present"' in said
    old.dispose()
    engine = open_database(database_url, tmp_path)
    queries = Queries(engine)
    assert [f["call"] for row in queries.studies(finding="Effusion") for f in row["findings"]] == ["above", "above"]
    assert [f["call"] for one in queries.results("1.2.1") for f in one["findings"]] == ["above"]
    with reading(engine) as connection:
        assert connection.execute(text("SELECT call FROM finding")).scalars().all() == ["above", "above"]
