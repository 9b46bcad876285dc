"""hilum compare: what two models said of the same images, as shares with intervals, and what to look at."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from daemon.cli.main import app
from daemon.cli.trials.comparison import comparison_rows
from daemon.runtime.clock import now
from storage.analyses import InstanceOutcome, ModelOutcome, UsedModel
from storage.journal import Journal
from storage.store import open_store
from tests.support.studies import image, outcome


def result(score: int, scanner: str = "A", **more: Any) -> dict[str, Any]:
    findings = [{"finding": "Mass", "score": score, "call": "above" if score >= 50 else "below"}]
    return {"analysed": True, "findings": findings, "acquisition": {"manufacturer": scanner}, **more}


def pair(number: int, first: int, second: int, scanner: str = "A") -> dict[str, Any]:
    return {"sop_instance_uid": f"1.{number}", "study_instance_uid": f"1.{number}.9", "calling_ae_title": "CR",
            "first": result(first, scanner), "second": result(second, scanner)}  # fmt: skip


def test_the_figures_of_a_comparison() -> None:
    """Of ten images eight agree, one call is gained and one lost. Each scanner has a row, each figure an interval."""
    pairs = [pair(n, 40, 42) for n in range(4)] + [pair(n, 60, 64, "B") for n in range(4, 8)]
    pairs += [pair(8, 40, 70), pair(9, 60, 30, "B")]
    whole, first, second = comparison_rows(pairs)
    assert (whole["finding"], whole["scanner"], whole["images"]) == ("Mass", "all", 10)
    assert (whole["agree"], whole["gained"], whole["lost"], whole["score_shift"]) == (0.8, 1, 1, 2.4)
    assert whole["agree_low"] < 0.8 < whole["agree_high"]
    assert whole["score_shift_low"] < 2.4 < whole["score_shift_high"]
    assert [(row["scanner"], row["gained"], row["lost"]) for row in (first, second)] == [("A", 1, 0), ("B", 0, 1)]


def test_only_what_both_assess_is_compared() -> None:
    """A finding without a score, or that one model does not know, has no row."""
    one = pair(1, 40, 60)
    one["second"]["findings"][0]["score"] = None
    assert comparison_rows([one]) == []


def kept(journal: Journal, number: int, first: int, second: int) -> None:
    """A study that both models saw."""
    journal.received(image(f"1.2.{number}"), now())
    (study,) = journal.settled(now(), 0, 1, "w")
    key = study.instances[0].id
    seen = [InstanceOutcome(key, "analysed", "", result(score)) for score in (first, second)]
    journal.analysed(
        study, outcome(study, results=seen[:1], model=UsedModel("chest"), trials=(UsedModel("next"),)), now()
    )
    (trial,) = journal.waiting_trials(1, "w")
    journal.tried([(trial, ModelOutcome(UsedModel("next"), (seen[1],)))], now())


def test_the_command_reads_what_the_daemon_kept(tmp_path: Path) -> None:
    """A table with intervals and the images whose call changed, or JSON; who never met is told so."""
    journal = open_store("", tmp_path).journal
    kept(journal, 1, 40, 45)
    kept(journal, 2, 40, 80)
    variables = {"HILUM__STORAGE__DIRECTORY": str(tmp_path)}
    done = CliRunner().invoke(app, ["compare", "chest", "next"], env=variables)
    assert done.exit_code == 0, done.output
    assert "Mass gained: score 40 became 80 in image 1.2.2.1 of study 1.2.2" in done.stdout
    (row,) = json.loads(CliRunner().invoke(app, ["compare", "chest", "next", "--json"], env=variables).stdout)
    assert (row["images"], row["gained"], row["score_shift"]) == (2, 1, 22.5)
    none = CliRunner().invoke(app, ["compare", "chest", "other"], env=variables)
    assert (none.exit_code, "models with analyses: chest, next" in none.output) == (1, True)
