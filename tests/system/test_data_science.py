"""What docs/models.md shows a data scientist, run as it stands on a folder that is not ours."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.main import app
from inference.bundle import load_bundle
from tests.conftest import ROOT
from tests.inference.test_train import SMALL, write_data


def documented(begin: str) -> list[str]:
    """The words of the one line in docs/models.md, in its section, that begins so, without its remark."""
    page = (ROOT / "docs/models.md").read_text().partition("\n## Your own training")[2].partition("\n## ")[0]
    (line,) = re.findall(rf"^hilum ({begin} .*?)\s*(?:#.*)?$", page, re.MULTILINE)
    return shlex.split(line)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute of computing, and several where the processor is shared
def test_the_documented_lines_run_on_a_strangers_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 PNG files and a manifest: train, model gate, evaluate and model import end well, with their files."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "DIR", 200)
    write_data(tmp_path / "OTHER", 120)
    recipe = SMALL.to_json() | {"cohort_weights": []}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))

    def run(begin: str, *more: str) -> str:
        done = CliRunner().invoke(app, [*documented(begin), *more])
        assert done.exit_code == 0, f"{begin}: {done.output}"
        return done.stdout

    assert 'digest = "sha256:' in run("train", "--recipe", "recipe.json", "--no-track", "--threads", "1")
    worth = json.loads(run("model gate", "--most", "30"))
    assert worth
    assert load_bundle(Path("BUNDLE")).gate
    said = run("evaluate", "--rounds", "10")
    assert "120 of 120 images were trained on" in said  # the pictures of both folders are drawn alike
    assert {p.name for p in Path("REPORT").iterdir()} == {
        "evaluation.json", "evaluation.md", "evaluation.html", "predictions.csv",
    }  # fmt: skip
    run("model import BUNDLE")
    assert load_bundle(Path("COPY")).digest == load_bundle(Path("BUNDLE")).digest
