"""Triage by the whole daemon: urgent studies first, people and programs told at least once, whatever fails."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.support.bundles import as_settings, sure_bundle
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file, free_port
from tests.support.receivers import SECRET, MailServer, WebhookReceiver, is_signed
from tests.system.chaos import Modality

MARKS = {"PatientName": "Zzmark^Name", "PatientID": "ZZMARKID", "AccessionNumber": "ZZMARKACC"}
ALERT = {"name": "effusion", "finding": "Effusion", "notify": ["hook", "mail"]}
POINTS = [f"journal.{verb}:{when}-commit" for verb in ("analysed", "notified") for when in ("before", "after")]


@pytest.fixture(scope="module")
def effusion(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A bundle that sees an effusion in every picture, and nothing else."""
    return as_settings(sure_bundle(tmp_path_factory.mktemp("bundle") / "sure", Effusion=20.0))


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


def tables(hook: WebhookReceiver, mail: MailServer, **alert: Any) -> dict[str, str]:
    """[[alert]] and [[notifier]], as the environment has them."""
    notifiers = [
        {"type": "webhook", "name": "hook", "url": hook.url, "secret": SECRET, "timeout_seconds": 3},
        {"type": "email", "name": "mail", "host": "127.0.0.1", "port": mail.port, "tls": "none",
         "sender": "hilum@clinic.example", "recipients": ["on.call@clinic.example"], "identifiers": "none"},
    ]  # fmt: skip
    return {"HILUM__NOTIFIER": json.dumps(notifiers), "HILUM__ALERT": json.dumps([{**ALERT, **alert}])}


def trail(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    with daemon.store() as store:
        return store.queries.events(event=event, limit=1000)


def attempts(daemon: Daemon, notifier: str) -> list[str]:
    """How each attempt of a notifier ended, by the audit trail."""
    return [row["detail"]["outcome"] for row in trail(daemon, "NOTIFICATION") if row["actor"] == notifier]


def marked(modality: Modality) -> Path:
    """A study of a patient whose name would show."""
    file = dx_file(modality.directory / f"{len(modality.files)}.dcm", 64, 64, BodyPartExamined="CHEST", **MARKS)
    modality.files.append(file)
    return file


@pytest.mark.timeout(600)
def test_a_receiver_on_its_bad_days_is_told(tmp_path: Path, effusion: dict[str, str], mail: MailServer) -> None:
    """It fails, hangs, drops the connection and redirects: it is told in the end, under one id and signed; meanwhile
    the mail is sent and the report delivered. Each attempt is on record, and nothing says who the patient is."""
    moods: list[int | str] = [500, "hang", "drop", 302, "drip", 503]
    hook = WebhookReceiver(lambda number: moods[number] if number < len(moods) else 200)
    with hook, FlakyPacs() as pacs, Daemon(
        tmp_path / "hilum", [sink("pacs", pacs.port)], **effusion, **tables(hook, mail)
    ) as daemon:  # fmt: skip
        modality = Modality(tmp_path / "m", daemon.port)
        assert modality.send(marked(modality))
        wait_for(lambda: mail.mails and pacs.taken, 60, "mail and report while the webhook fails")
        assert not hook.taken
        wait_for(lambda: hook.taken, 60, f"the webhook: {hook.tried}")
        wait_for(lambda: daemon.states() == {"DELIVERED": 1}, 60, "the end")
        wait_for(lambda: "ACCEPTED" in attempts(daemon, "hook"), 60, "the last attempt on record")
        (study,) = modality.acknowledged
        assert hook.tried[: len(moods)] == moods
        assert all(is_signed(*taken) for taken in hook.taken)
        assert len({headers["webhook-id"] for headers, _ in hook.taken}) == 1
        _, body = hook.taken[-1]
        data = json.loads(body)["data"]
        assert data["study_instance_uid"] == study
        assert [(f["finding"], f["call"]) for f in data["findings"]] == [("Effusion", "above")]
        assert (data["alerts"], data["calling_ae_titles"]) == (["effusion"], ["MODALITY"])
        envelope = mail.mails[-1]
        assert isinstance(envelope.content, bytes)
        assert b"Subject: hilum: Effusion above threshold" in envelope.content
        assert study.encode() not in envelope.content  # identifiers = "none"
        (alerted,) = trail(daemon, "ALERTED")
        assert (alerted["study_instance_uid"], alerted["detail"]["notifiers"]) == (study, ["hook", "mail"])
        *failed, last = attempts(daemon, "hook")
        assert (set(failed), last) == ({"FAILED", "UNREACHABLE"}, "ACCEPTED")
        assert len(failed) >= len(moods)
        said = json.dumps([*daemon.events, body.decode(), envelope.content.decode(), trail(daemon, "NOTIFICATION")])
        assert "zzmark" not in said.lower()
        assert daemon.faults() == []
        assert daemon.stop() == 0


@pytest.mark.timeout(600)
def test_the_urgent_study_is_delivered_first(tmp_path: Path, effusion: dict[str, str], mail: MailServer) -> None:
    """Three studies wait for a PACS; the alert is for the sender of the last one, whose report then goes first."""
    pacs, hook = FlakyPacs(), WebhookReceiver()
    environ = {**tables(hook, mail, peers=["M2"]), "HILUM__DELIVERY__LONGEST_RETRY_SECONDS": "3"}
    with hook, Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **effusion, **environ) as daemon:
        modalities = [Modality(tmp_path / f"m{n}", daemon.port, f"M{n}") for n in range(3)]
        for number, modality in enumerate(modalities, 1):
            assert modality.send(modality.make()[0])
            wait_for(lambda n=number: daemon.states() == {"ANALYSED": n}, 60, "the analysis")  # type: ignore[misc]
        with pacs:
            wait_for(lambda: daemon.states() == {"DELIVERED": 3}, 60, "the deliveries")
            with daemon.store() as store:
                detail = store.queries.study_detail(modalities[2].acknowledged[0])
            assert detail
            assert pacs.taken[0].sop_instance_uid == detail["objects"][0]["sop_instance_uid"]
        wait_for(lambda: len(hook.taken) == 1, 20, "the notification")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_every_step_loses_no_notification(tmp_path: Path, effusion: dict[str, str], mail: MailServer) -> None:
    """SIGKILL before and after each commit: each study is told at least once, each time under the same id, and one
    notification for each notifier is on record."""
    with WebhookReceiver() as hook, FlakyPacs() as pacs, Daemon(
        tmp_path / "hilum", [sink("pacs", pacs.port)], **effusion, **tables(hook, mail)
    ) as daemon:  # fmt: skip
        modality = Modality(tmp_path / "m", daemon.port)
        waiting: list[Path] = []
        for point in POINTS:
            daemon.kill()
            daemon.start(kill_at=point)
            waiting += modality.make()
            waiting = [file for file in waiting if not modality.send(file)]  # it may be killed by an earlier study
            wait_for(lambda: not daemon.alive, 90, f"the kill at {point}: {daemon.events}")
        daemon.start()
        assert all(modality.send(file) for file in waiting)
        wait_for(lambda: daemon.states() == {"DELIVERED": len(POINTS)}, 90, f"the deliveries: {daemon.states()}")

        def counted() -> dict[tuple[str, str], int]:
            with daemon.journal() as journal:
                return journal.notification_counts()

        everything = {("hook", "ACCEPTED"): len(POINTS), ("mail", "ACCEPTED"): len(POINTS)}
        wait_for(lambda: counted() == everything, 60, f"the notifications: {counted()}")
        ids: dict[str, set[str]] = {}
        for event in hook.events:
            ids.setdefault(event["data"]["study_instance_uid"], set()).add(event["id"])
        assert set(ids) == set(modality.acknowledged)
        assert [len(found) for found in ids.values()] == [1] * len(POINTS)
        assert len(mail.mails) >= len(POINTS)
        assert "as it was written" in daemon.hilum("audit", "verify")


@pytest.mark.timeout(600)
def test_alerts_are_reloaded(tmp_path: Path, effusion: dict[str, str], mail: MailServer) -> None:
    """SIGHUP takes new alerts and notifiers, starts the part that notifies, and refuses what could never be raised."""
    file = tmp_path / "hilum.toml"
    file.write_text("")
    port, hook = free_port(), WebhookReceiver()
    environ = {"HILUM_CONFIG": str(file), "HILUM__DICOM__PORT": str(port)}
    with hook, FlakyPacs() as pacs, Daemon(
        tmp_path / "hilum", [sink("pacs", pacs.port)], **effusion, **environ
    ) as daemon:  # fmt: skip
        daemon.await_event("ready to analyse")
        notifier = f"[[notifier]]\ntype = 'webhook'\nname = 'hook'\nurl = '{hook.url}'\nsecret = '{SECRET}'\n"
        assert daemon.process
        for finding, refused in (("Pneumothorax", True), ("Effusion", False)):
            file.write_text(f"{notifier}[[alert]]\nname = 'a'\nfinding = '{finding}'\nnotify = ['hook']\n")
            daemon.process.send_signal(signal.SIGHUP)
            if refused:
                said = daemon.await_event("configuration refused, the old one stays")
                assert "expected 'Effusion', 'Cardiomegaly', 'Mass', 'Any finding'" in said["fault"]
        ready = daemon.await_event("ready to notify")
        assert ready["notifiers"] == ["hook"]
        modality = Modality(tmp_path / "m", daemon.port)

        def told() -> bool:  # the analysing part may still be the old one for a moment
            assert modality.send(modality.make()[0])
            return bool(hook.taken)

        wait_for(told, 60, "a notification by the new configuration")
