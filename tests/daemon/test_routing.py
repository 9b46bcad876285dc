"""Several models: which one an image is for, who gets what it says, and what is refused before the start."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from config.settings import ConfigurationError
from daemon.analysis.routing import routes
from daemon.cli.main import app
from daemon.decisions import CannotWork
from daemon.wiring import read_settings
from dicom_io.image.header import read_header
from storage.store import open_store
from tests.support.peers import dx_file
from tests.support.studies import at

PACS = {"name": "pacs", "ae_title": "PACS", "host": "h", "port": 1}
DESTINATIONS = [PACS, {**PACS, "name": "research"}]
PEERS = [{"ae_title": "CR1", "host": "::1"}, {"ae_title": "ER", "host": "::1"}]


def environ(*models: dict[str, Any], **more: str) -> dict[str, str]:
    return {"HILUM__MODEL": json.dumps(models), "HILUM__DESTINATION": json.dumps(DESTINATIONS),
            "HILUM__PEER": json.dumps(PEERS), **more}  # fmt: skip


@pytest.mark.parametrize(
    ("restriction", "elements", "peer", "why"),
    [
        ({}, {}, "CR1", ""),
        ({"peers": ["er"]}, {}, "ER", ""),
        ({"peers": ["ER"]}, {}, "CR1", "other senders"),
        ({"peers": ["ER"]}, {}, "", ""),
        ({"views": ["PA"]}, {"ViewPosition": "PA"}, "CR1", ""),
        ({"views": ["PA"]}, {"ViewPosition": "AP"}, "CR1", "the view is AP, and the model is for PA"),
        ({"views": ["PA"]}, {"ViewPosition": ""}, "CR1", ""),
        ({"sop_classes": ["DigitalXRayImageStorageForPresentation"]}, {}, "CR1", ""),
        ({"sop_classes": ["ComputedRadiographyImageStorage"]}, {}, "CR1", "is not one that the model is for"),
        ({"maximum_age_years": 60}, {"PatientAge": "070Y"}, "CR1", "older than 60 years"),
        ({"maximum_age_years": 60}, {"PatientAge": "050Y"}, "CR1", ""),
        ({"select": {"body_parts": ["HAND"]}}, {"BodyPartExamined": "HAND"}, "CR1", ""),
        ({"select": {"body_parts": ["HAND"]}}, {"BodyPartExamined": "CHEST"}, "CR1", "another part"),
        ({"select": {"minimum_age_years": 65}}, {"PatientAge": "050Y"}, "CR1", "younger than 65 years"),
    ],
)
def test_a_model_is_for_what_its_table_says(
    tmp_path: Path, restriction: dict[str, Any], elements: dict[str, str], peer: str, why: str
) -> None:
    """Each key alone restricts; what an image does not say excludes it from nothing."""
    (route,) = routes(read_settings(None, environ({"name": "a", **restriction})))
    file = dx_file(tmp_path / "a.dcm", **{"BodyPartExamined": "CHEST", "PatientAge": "050Y", **elements})
    verdict = route.select(read_header(file), peer)
    assert verdict.eligible == (not why), verdict
    assert not why or why in verdict.reason


def test_select_holds_for_the_keys_that_a_model_does_not_give(tmp_path: Path) -> None:
    """[select] is what all models share; [model.select] changes single keys of it for one model."""
    settings = read_settings(
        None,
        environ({"name": "a"}, {"name": "b", "select": {"minimum_age_years": 0}}, HILUM__SELECT__BODY_PARTS='["HAND"]'),
    )
    first, second = routes(settings)
    assert (first.rules.body_parts, first.rules.minimum_age_years) == (("HAND",), 18)
    assert (second.rules.body_parts, second.rules.minimum_age_years) == (("HAND",), 0)


def test_destinations_get_what_they_are_named_for() -> None:
    """By default every destination. A model on trial has none, and a promoted one those of the model before it."""
    settings = read_settings(
        None, environ({"name": "a"}, {"name": "b", "destinations": ["research"]}, {"name": "c", "shadow": True})
    )

    def told(*promotions: tuple[str, str]) -> list[list[str]]:
        return [[d.name for d in route.destinations] for route in routes(settings, promotions)]

    everybody = ["pacs", "research"]
    assert told() == [everybody, ["research"], []]
    assert told(("c", "b")) == [everybody, [], ["research"]]
    assert told(("c", "b"), ("b", "c")) == told()
    assert told(("c", "b"), ("gone", "a"), ("c", "a"), ("b", "gone")) == [everybody, [], ["research"]]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([{"name": "a"}, {"name": "a"}], "model.name must be unique"),
        ([{"name": "a", "shadow": True}], "every model has shadow = true"),
        ([{"name": "a"}, {"name": "b", "shadow": True, "destinations": ["pacs"]}], "shadow = true sends nothing"),
        ([{"name": "a", "destinations": ["pcas"]}], "names 'pcas', expected some of 'pacs', 'research'"),
        ([{"name": "a", "peers": ["CT"]}], "names 'CT', expected some of 'CR1', 'ER'"),
        ([{"name": "a", "sort": 1}], "no such key"),
    ],
)
def test_what_cannot_work_is_refused(models: list[dict[str, Any]], said: str) -> None:
    """Each fault is a sentence that names the model and the key."""
    with pytest.raises(ConfigurationError, match=said):
        read_settings(None, environ(*models))


def test_a_class_that_there_is_not_is_refused() -> None:
    """The sentence lists the classes that there are."""
    with pytest.raises(CannotWork, match="model a: sop_classes names 'CT', expected some of ComputedRadiography"):
        routes(read_settings(None, environ({"name": "a", "sop_classes": ["CT"]})))


def test_one_model_may_be_written_as_before(tmp_path: Path) -> None:
    """[model] as one table, with the keys that are of [analysis] today, from the file and the environment."""
    file = tmp_path / "hilum.toml"
    file.write_text("[model]\nbatch = 3\nthreads = 2\n")
    settings = read_settings(file, {"HILUM__MODEL__WORKERS": "4", "HILUM__ANALYSIS__BATCH": "5"})
    assert [(model.name, model.threads) for model in settings.model] == [("model", 2)]
    assert (settings.analysis.workers, settings.analysis.batch) == (4, 5)


def test_rules_explain_says_who_runs_and_why(tmp_path: Path) -> None:
    """For each model a row: whether it runs, the reason where not, the destinations; promotions count."""
    directory = tmp_path / "storage"
    variables = environ({"name": "pa", "views": ["PA"]}, {"name": "next", "shadow": True},
                        HILUM__STORAGE__DIRECTORY=str(directory))  # fmt: skip
    file = str(dx_file(tmp_path / "a.dcm", BodyPartExamined="CHEST", ViewPosition="AP"))

    def explained() -> list[tuple[Any, ...]]:
        done = CliRunner().invoke(app, ["rules", "explain", file, "--json"], env=variables)
        assert done.exit_code == 0, done.output
        return [(r["model"], r["on_trial"], r["runs"], r["destinations"]) for r in json.loads(done.stdout)]

    assert explained() == [("pa", False, False, []), ("next", True, True, [])]
    assert not directory.exists()
    directory.mkdir()
    open_store("", directory).journal.promote("next", "pa", at(0))
    assert explained() == [("pa", True, False, []), ("next", False, True, ["pacs", "research"])]


def test_promotion_by_command(tmp_path: Path) -> None:
    """Only a model on trial is promoted, in place of one in use; the undoing is one command."""
    variables = environ({"name": "a"}, {"name": "b"}, {"name": "c", "shadow": True},
                        HILUM__STORAGE__DIRECTORY=str(tmp_path))  # fmt: skip

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["model", *words], env=variables)
        return done.exit_code, done.output

    assert run("promote", "b") == (1, "'b' is not on trial; those on trial: c\n")
    assert run("promote", "c") == (1, "--instead-of is '', expected a model in use: a, b\n")
    assert run("promote", "c", "--instead-of", "a") == (0, "c is in use, a is on trial\n")
    assert run("rollback") == (0, "a is in use, c is on trial\n")
