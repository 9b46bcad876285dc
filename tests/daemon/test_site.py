"""`hilum evaluate --site`: from verdicts in the database to a file that the daemon takes."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from daemon.cli.main import app
from daemon.cli.site.calibration import reader_verdicts
from inference.bundle import Bundle, default_bundle
from inference.prediction import ANY_FINDING
from inference.serving.site_calibration import load_site_calibration
from inference.training.site.labels import ReaderVerdict
from storage.store import Store, open_store
from tests.support.site import simulated
from tests.support.verdicts import found, judged, result, with_results


def hilum(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HILUM__STORAGE__DIRECTORY", str(tmp_path))
    return open_store("", tmp_path)


def fill(store: Store, bundle: Bundle, verdicts: list[ReaderVerdict]) -> None:
    """A study for each patient, with results of the bundle and what the reader said of them."""
    model = {"name": bundle.name, "version": bundle.version, "digest": bundle.digest}
    for number, pair in enumerate(zip(verdicts[::2], verdicts[1::2], strict=True)):
        results = [
            result(*(found(label, "below", p) for label, p in one.shipped.items() if label != ANY_FINDING), model=model,
                   acquisition={"view": one.view}) | {"pathology_probability": one.shipped[ANY_FINDING]}
            for one in pair
        ]  # fmt: skip
        uids = with_results(store.journal, f"1.2.{number}", *results, seconds=number * 1000, patient_id=pair[0].patient)
        for uid, one in zip(uids, pair, strict=True):
            opinion = "disagree" if one.present else "agree"  # each call is "below"
            judged(store.journal, f"1.2.{number}", one.finding, opinion, number * 1000 + 100, sop_instance_uid=uid)


def test_what_is_taken_is_written_and_loads(store: Store, tmp_path: Path) -> None:
    """The table says what was taken and why; the printed lines put just that file into force."""
    bundle = default_bundle()
    fill(store, bundle, simulated(bundle, patients=120, shift=2.0))
    done = hilum("evaluate", "--site", "--out", str(tmp_path / "site"))
    assert done.exit_code == 0, done.output
    assert "240 verdicts on 240 images of 120 patients" in done.output
    assert "taken: Platt" in done.output
    assert "too few labels" in done.output, "of the findings that nobody judged"
    file = tmp_path / "site/site-calibration.json"
    digest = "sha256:" + sha256(file.read_bytes()).hexdigest()
    assert f'site_calibration = "{file}"\nsite_digest = "{digest}"\n' in done.output
    assert "Effusion" in load_site_calibration(file, digest, bundle).maps
    again = hilum("evaluate", "--site", "--json")
    assert json.loads(again.stdout)["findings"] == json.loads(file.read_text())["findings"], "the same verdicts"
    assert not {"1.2.0.1", "P0"} & set(file.read_text().split('"')), "no image, no patient"


def test_nothing_is_written_where_nothing_is_taken(store: Store, tmp_path: Path) -> None:
    """With the reason in words; verdicts on another model are counted apart."""
    bundle = default_bundle()
    fill(store, bundle, simulated(bundle, patients=20, shift=2.0))
    with_results(store.journal, "1.3", result(found("Effusion", "above")), seconds=10**6)
    judged(store.journal, "1.3", "Effusion", "agree", 10**6 + 100)
    done = hilum("evaluate", "--site", "--out", str(tmp_path / "site"))
    assert done.exit_code == 0, done.output
    assert "1 verdicts on other models do not count" in done.output
    assert "Nothing is taken: the bundle's own calibration stays, and no file is written." in done.output
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("words", [("--site", "--data", "."), ()])
def test_data_or_site(words: tuple[str, ...]) -> None:
    """One of the two, and not both."""
    done = hilum("evaluate", *words)
    assert (done.exit_code, "--site" in done.output) == (2, True), done.output


def test_the_bundles_own_probability_counts() -> None:
    """Also where a site's calibration was in force when the image was judged; a nameless patient is the study's."""
    seen: dict[str, Any] = result(found("Mass", "above", 0.9)) | {"shipped_pathology_probability": 0.2}
    seen["findings"][0]["shipped_probability"] = 0.4
    row = {"sop_instance_uid": "1.1", "patient_id": "", "study_instance_uid": "1", "view": "AP", "finding": "Mass",
           "present": 1, "reader": "A", "result": seen}  # fmt: skip
    (verdict,) = reader_verdicts([row])
    assert verdict == ReaderVerdict("1.1", "1", "AP", "Mass", True, "A", {"Mass": 0.4, ANY_FINDING: 0.2})
