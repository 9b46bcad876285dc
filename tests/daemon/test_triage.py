"""Which alerts a study raises, who is told what, and which alerts are refused because they never could be raised."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from config.alerting import AlertSettings
from daemon.analysis import triage
from daemon.decisions import CannotWork
from daemon.wiring import open_models, read_settings
from inference.prediction import ANY_FINDING, Finding, Prediction, refused
from storage.records import Instance, Study
from tests.support.bundles import as_settings, sure_bundle
from tests.support.studies import START

SATURDAY = datetime(2026, 11, 28, 22, 30)
MODEL = {"name": "m", "version": "1", "digest": "sha256:0"}


def study(*peers: str) -> Study:
    images = (Instance(n, "", "", "", "", "", "", peer) for n, peer in enumerate(peers))
    return Study(1, "1.2.3", 1, 1, START, tuple(images))


def found(name: str, call: str, margin: float) -> Finding:
    return Finding(name, 0.5, 0.5, call, margin)


SUMMARY = Prediction(
    True,
    any_finding=found(ANY_FINDING, "above", 2.0),
    findings=(
        found("Pneumothorax", "above", 2.0),  # score 88
        found("Effusion", "near", -0.2),  # score 45
        found("Mass", "below", -3.0),
        Finding("Hernia", 0.9, None, "not-assessed"),
    ),
)


def names(*alerts: dict[str, Any], peers: tuple[str, ...] = ("CR1",), at: datetime = SATURDAY) -> list[str]:
    settings = [AlertSettings(**{"name": f"a{n}", **alert}) for n, alert in enumerate(alerts)]
    raised = triage.raised(settings, study(*peers), SUMMARY, MODEL, at)
    return list(raised.alerts) if raised else []


@pytest.mark.parametrize(
    ("alert", "raised"),
    [
        ({"finding": "Pneumothorax"}, True),
        ({"finding": "Effusion"}, False),
        ({"finding": "Effusion", "from": "near"}, True),
        ({"finding": "Pneumothorax", "from": "near"}, True),
        ({"finding": "Mass", "from": "near"}, False),
        ({"finding": "Hernia", "from": "near"}, False),
        ({"finding": "Any finding"}, True),
        ({"finding": "Pneumothorax", "score": 88}, True),
        ({"finding": "Pneumothorax", "score": 89}, False),
        ({"finding": "Pneumothorax", "peers": ["cr1"]}, True),
        ({"finding": "Pneumothorax", "peers": ["CR2"]}, False),
        ({"finding": "Pneumothorax", "hours": ["mon-fri", "sat 20:00-06:00"]}, True),
        ({"finding": "Pneumothorax", "hours": ["mon-fri"]}, False),
    ],
)
def test_what_raises_an_alert(alert: dict[str, Any], raised: bool) -> None:
    """Finding, call, score, peers and hours have to agree; a finding that is not assessed never does."""
    assert names(alert) == ["a0"] * raised


def test_a_notifier_is_told_once_of_all_findings() -> None:
    """Two alerts of a study are one message for who hears of both; an alert that nobody hears of still counts."""
    alerts = [
        AlertSettings(name="near", finding="Effusion", from_call="near", notify=("hook",)),
        AlertSettings(name="above", finding="Pneumothorax", notify=("hook", "mail")),
        AlertSettings(name="any", finding="Any finding"),
    ]
    raised = triage.raised(alerts, study("CR1", "CR2", "CR1"), SUMMARY, MODEL, SATURDAY)
    assert raised
    assert raised.alerts == ("near", "above", "any")
    told = {notice.notifier: notice.content for notice in raised.notices}
    assert [(f["finding"], f["call"], f["score"]) for f in told["hook"]["findings"]] == [
        ("Pneumothorax", "above", 88),
        ("Effusion", "near", 45),
    ]
    assert told["hook"]["alerts"] == ["near", "above"]
    assert told["mail"]["alerts"] == ["above"]
    assert told["mail"]["calling_ae_titles"] == ["CR1", "CR2"]


def test_any_finding_names_which() -> None:
    """Who asked for any finding is told which there are, and only where none is by itself, that there is one."""
    alert = AlertSettings(name="any", finding=ANY_FINDING, from_call="near", notify=("hook",))
    alone = Prediction(True, any_finding=SUMMARY.any_finding, findings=(found("Mass", "below", -3.0),))
    for summary, expected in ((SUMMARY, ["Pneumothorax", "Effusion"]), (alone, ["Any finding"])):
        raised = triage.raised([alert], study("CR1"), summary, MODEL, SATURDAY)
        assert raised
        assert [finding["finding"] for finding in raised.notices[0].content["findings"]] == expected


def test_no_analysis_raises_nothing() -> None:
    """A study of which no image was analysed is not urgent by what was not found."""
    alert = AlertSettings(name="a", finding="Pneumothorax", from_call="near")
    for summary in (None, refused("not a chest")):
        assert triage.raised([alert], study("CR1"), summary, MODEL, SATURDAY) is None


def test_reception_is_urgent_by_peer_and_hour_alone() -> None:
    """An alert with a finding waits for the analysis."""
    alerts = [AlertSettings(name="er", peers=("ER",), hours=("sat-sun",)), AlertSettings(name="m", finding="Mass")]
    assert triage.urgent_at_reception(alerts, "er", SATURDAY)
    assert not triage.urgent_at_reception(alerts, "CR1", SATURDAY)
    assert not triage.urgent_at_reception(alerts, "ER", SATURDAY.replace(day=27))


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (
            "Pneumotorax",
            "alert a: finding is 'Pneumotorax', expected 'Effusion', 'Cardiomegaly', 'Mass', 'Any finding'",
        ),
        (
            "Mass",
            "no call on Mass, so that the alert would never be raised; it makes calls on 'Effusion', 'Any finding'",
        ),
    ],
)
def test_an_alert_that_could_never_be_raised_is_refused(tmp_path: Path, finding: str, said: str) -> None:
    """A spelling mistake, or a finding on which the model makes no call, is named when the model is loaded."""
    bundle = sure_bundle(tmp_path / "bundle", assessed=("Effusion",))
    environ = {**as_settings(bundle), "HILUM__STORAGE__DIRECTORY": str(tmp_path)}
    open_models(read_settings(None, {**environ, "HILUM__ALERT": '[{"name": "a", "finding": "Effusion"}]'}))
    with pytest.raises(CannotWork) as refusal:
        open_models(read_settings(None, {**environ, "HILUM__ALERT": f'[{{"name": "a", "finding": "{finding}"}}]'}))
    assert said in str(refusal.value)
