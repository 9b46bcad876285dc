"""Triage: which alerts of the configuration a study raises. The time is handed in, in the hospital's time zone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from config.alerting import AlertSettings
from config.hours import Hours
from daemon.decisions import CannotWork
from storage.notices import Notice, Raised
from storage.records import Study

if TYPE_CHECKING:  # the receiver imports this module too, and must not load torch
    from inference.prediction import Prediction
    from inference.serving.segmenter import Model

CALLS = {"above": ("above",), "near": ("above", "near")}


def urgent_at_reception(alerts: Sequence[AlertSettings], ae_title: str, local: datetime) -> bool:
    """Whether what this peer sends now goes before other studies, whatever will be found in it."""
    return any(not alert.finding and _applies(alert, [ae_title], local) for alert in alerts)


def raised(
    alerts: Sequence[AlertSettings], study: Study, summary: Prediction | None, model: dict[str, str], local: datetime
) -> Raised | None:
    """Return the alerts that the analysis of a study raises, and who is told what; None if it raises none.

    A notifier that several alerts name is told once, of all their findings, the highest score first.
    """
    peers = sorted({instance.calling_ae_title for instance in study.instances})
    assessed = _assessed(summary)
    hits = [
        (alert, reached) for alert in alerts if _applies(alert, peers, local) and (reached := _reached(alert, assessed))
    ]
    if not hits:
        return None
    names = dict.fromkeys(name for alert, _ in hits for name in alert.notify)
    return Raised(
        tuple(alert.name for alert, _ in hits),
        tuple(Notice(name, _content([hit for hit in hits if name in hit[0].notify], peers, model)) for name in names),
    )


def joined(raised: Sequence[Raised | None]) -> Raised | None:
    """Return what several models raised together; a notifier is told by each model apart. None if none raised any."""
    some = [one for one in raised if one]
    if not some:
        return None
    alerts = dict.fromkeys(name for one in some for name in one.alerts)
    return Raised(tuple(alerts), tuple(notice for one in some for notice in one.notices))


def check_findings_of_alerts(alerts: Sequence[AlertSettings], models: Sequence[Model]) -> None:
    """Raise CannotWork for an alert on a finding that no model knows, or on which none ever makes a call."""
    from inference.serving.classifier import Classifier

    calibrations = [model.calibration for model in models if isinstance(model, Classifier)]
    known = list(dict.fromkeys(name for one in calibrations for name in one.names))
    called = list(dict.fromkeys(name for one in calibrations for name in one.called))
    for alert in alerts:
        if alert.finding and alert.finding not in known:
            raise CannotWork(f"alert {alert.name}: finding is {alert.finding!r}, expected {_listed(known)}")
        if alert.finding and alert.finding not in called:
            raise CannotWork(
                f"alert {alert.name}: this model makes no call on {alert.finding}, so that the alert would never be"
                f" raised; it makes calls on {_listed(called)}"
            )


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _assessed(summary: Prediction | None) -> dict[str, dict[str, Any]]:
    """Return the findings of a study that have a score, any finding included, as JSON objects by their names."""
    if summary is None or not summary.analysed:
        return {}
    every = [*summary.findings, *([summary.any_finding] if summary.any_finding else [])]
    return {
        f.finding: {"finding": f.finding, "call": f.call, "score": f.score, "probability": round(f.probability, 4)}
        for f in every
        if f.score is not None
    }


def _applies(alert: AlertSettings, peers: Collection[str], local: datetime) -> bool:
    """Whether an alert is for one of these peers, and for this moment."""
    listed = {peer.upper() for peer in alert.peers}
    from_peer = not listed or bool(listed & {peer.upper() for peer in peers})
    return from_peer and (not alert.hours or any(Hours.parse(written).cover(local) for written in alert.hours))


def _reached(alert: AlertSettings, assessed: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings by which an alert is raised; of any finding, those that it is above or near by."""
    from inference.prediction import ANY_FINDING

    def reaches(found: dict[str, Any]) -> bool:
        return found["call"] in CALLS[alert.from_call] and found["score"] >= alert.score

    own = [found for name, found in assessed.items() if name == alert.finding and reaches(found)]
    if alert.finding != ANY_FINDING or not own:
        return own
    return [found for name, found in assessed.items() if name != ANY_FINDING and reaches(found)] or own


def _content(
    hits: Sequence[tuple[AlertSettings, list[dict[str, Any]]]], peers: list[str], model: dict[str, str]
) -> dict[str, Any]:
    found = {finding["finding"]: finding for _, reached in hits for finding in reached}
    return {
        "alerts": [alert.name for alert, _ in hits],
        "findings": sorted(found.values(), key=lambda finding: -finding["score"]),
        "calling_ae_titles": peers,
        "model": model,
    }
