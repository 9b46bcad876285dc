"""What a notification says: one line and a text for people, a CloudEvents 1.0 object for programs.

Who a study is of stays out of it, unless `identifiers` of the notifier lets it in. The names here are those of the
findings, of devices and of alerts; every text that came from outside is shown as `visible` does.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from config.alerting import PLACEHOLDER, NotifierSettings
from daemon.alerting.notifier import Announcement
from daemon.runtime.visible import visible
from storage.notices import Notification

ALERT, TEST = "org.hilum.alert", "org.hilum.test"  # the types of events
NOTE = (
    "This is a computer's suggestion for the order of reading, not a diagnosis.\n"
    "What is not named here is not excluded."
)


def message_of(due: Notification, notifier: NotifierSettings, ae_title: str) -> Announcement:
    """Return a notification as this notifier may tell it. `ae_title` is ours."""
    study = _identifiers(due, notifier)
    data = {
        **study,
        "received_at": due.received_at.isoformat(timespec="seconds"),
        "analysed_at": due.created_at.isoformat(timespec="seconds"),
        **due.content,
    }
    if notifier.link:
        data["link"] = notifier.link.replace(PLACEHOLDER, quote(due.study_instance_uid, safe=""))
    subject = f"hilum: {_called(due.content['findings'])}, study received {_received(due)}"
    event = _event(ALERT, due.message_id, due.created_at, ae_title, data)
    return Announcement(due.message_id, due.created_at, subject, _text(due, study, data.get("link", "")), event)


def trial_message(now: datetime, ae_title: str) -> Announcement:
    """Return a message that says that it is a test, and names no study."""
    words = f"Somebody tests the notifications of {ae_title}"
    text = f"{words}.\nNo study is behind this message, and nothing is to be done.\n"
    number = str(uuid4())
    return Announcement(
        number, now, "hilum: test of notifications, no study", text, _event(TEST, number, now, ae_title, {})
    )


def _identifiers(due: Notification, notifier: NotifierSettings) -> dict[str, str]:
    if notifier.identifiers == "none":
        return {}
    study = {"study_instance_uid": due.study_instance_uid}
    if notifier.identifiers == "study":
        return study
    return {**study, "accession_number": due.accession_number, "patient_id": due.patient_id}


def _event(kind: str, number: str, at: datetime, ae_title: str, data: dict[str, Any]) -> dict[str, Any]:
    """CloudEvents 1.0.2, section 3; `data` of a test is empty."""
    return {
        "specversion": "1.0",
        "id": number,
        "source": f"/hilum/{quote(ae_title, safe='')}",
        "type": kind,
        "time": at.isoformat(timespec="seconds"),
        "datacontenttype": "application/json",
        "data": data,
    }


def _called(findings: list[dict[str, Any]]) -> str:
    """The finding with the highest score, and how many more there are."""
    first, *others = findings
    more = f" and {len(others)} more" if others else ""
    return f"{visible(first['finding'])} {first['call']} threshold (score {first['score']}){more}"


def _received(due: Notification) -> str:
    """When a study was received, in local time; with the date where the alert is of another day."""
    received, raised = due.received_at.astimezone(), due.created_at.astimezone()
    return f"{received:%H:%M}" if received.date() == raised.date() else f"{received:%Y-%m-%d %H:%M}"


def _text(due: Notification, study: dict[str, str], link: str) -> str:
    content = due.content
    width = max(len(visible(found["finding"])) for found in content["findings"])
    findings = [
        f"  {visible(found['finding']):{width}}  {found['call']} threshold  score {found['score']}"
        for found in content["findings"]
    ]
    model = content["model"]
    facts = {
        "Received": f"{due.received_at.astimezone():%Y-%m-%d %H:%M %z} from {', '.join(content['calling_ae_titles'])}",
        "Analysed": f"{due.created_at.astimezone():%Y-%m-%d %H:%M %z} by {model['name']} {model['version']}",
        "Alert": ", ".join(content["alerts"]),
        "Patient ID": study.get("patient_id", ""),
        "Accession Number": study.get("accession_number", ""),
        "Study Instance UID": study.get("study_instance_uid", ""),
        "Open it": link,
        "Notification": due.message_id,
    }
    lines = [f"{name + ':':20}{visible(value)}" for name, value in facts.items() if value]
    head = "In a chest radiograph hilum found (score 50 is the threshold):"
    return "\n".join([head, "", *findings, "", *lines, "", NOTE, ""])
