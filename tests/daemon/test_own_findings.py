"""A site's own findings: judged when a model is imported, and when it is opened."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from daemon.cli.main import app
from dicom_io.composite import codes
from inference.bundle import load_bundle
from tests.inference.test_importer import SMALL, random_network, squares

OWN = """[Melanoma]
code = "MELANOMA"
scheme = "99SITE"
meaning = "Melanoma of skin"
site = {code = "39937001", scheme = "SCT", meaning = "Skin"}
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The findings that a test adds are gone after it."""
    yield
    codes.findings.cache_clear()
    codes.coded.cache_clear()


def test_own_findings_at_import_and_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label without a code is refused at import, with what to write; with the file it is imported, and it answers."""
    from PIL import Image

    torch.save(random_network(1, 3, **SMALL).state_dict(), tmp_path / "m.pt")
    words = ["model", "import", str(tmp_path / "m.pt"), str(tmp_path / "out"), "--labels", "Melanoma,,Mass"]
    refused = CliRunner().invoke(app, [*words, "--size", "64"])
    assert (refused.exit_code, type(refused.exception)) == (1, SystemExit)
    assert "no coded concept for 'Melanoma'" in refused.stderr
    assert '[Melanoma] code = "MELANOMA"' in refused.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "own.toml").write_text(OWN)
    done = CliRunner().invoke(app, [*words, "--size", "64", "--findings", str(tmp_path / "own.toml")])
    assert done.exit_code == 0, done.output
    assert "output 0: Melanoma\noutput 1: (without meaning)\noutput 2: Mass" in done.stderr
    assert f'findings = "{tmp_path / "own.toml"}"' in done.stdout
    codes.findings.cache_clear()
    monkeypatch.setenv("HILUM__MODEL__BUNDLE", str(tmp_path / "out"))
    monkeypatch.setenv("HILUM__MODEL__DIGEST", load_bundle(tmp_path / "out").digest)
    Image.fromarray((255 * squares(1, 64)[0]).astype("uint8")).save(tmp_path / "skin.png")
    stopped = CliRunner().invoke(app, ["predict", str(tmp_path / "skin.png")])
    assert stopped.exit_code == 2
    assert "[model] findings" in stopped.stderr
    monkeypatch.setenv("HILUM__MODEL__FINDINGS", str(tmp_path / "own.toml"))
    answer = CliRunner().invoke(app, ["predict", "--json", str(tmp_path / "skin.png")])
    assert [f["finding"] for f in json.loads(answer.stdout)["findings"]] == ["Melanoma", "Mass"]
    (tmp_path / "own.toml").write_text("[Melanoma]")
    stopped = CliRunner().invoke(app, ["predict", str(tmp_path / "skin.png")])
    assert (stopped.exit_code, "code is None" in stopped.stderr) == (2, True)
