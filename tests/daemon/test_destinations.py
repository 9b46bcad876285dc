"""The table of types of destination: a new type is one file and one row."""

import threading
from pathlib import Path
from typing import Literal

import pytest

from config.sections import DestinationSettings
from config.settings import ConfigurationError, Settings
from daemon.channel import Channel, DestinationType, Hooks
from daemon.cli.check import check
from daemon.delivery.courier import Courier
from daemon.delivery.destinations import TYPES
from daemon.runtime.doorbell import Doorbell
from daemon.wiring import open_channel, read_settings
from storage.records import Delivery, Sent
from storage.store import open_store
from tests.conftest import wait_for
from tests.support.studies import analysed

# --- what somebody who adds a type writes: settings, channel, and the row ---


class FolderDestination(DestinationSettings):
    """The keys of a [[destination]] with type = "folder"."""

    type: Literal["folder"] = "folder"
    directory: Path


class FolderChannel(Channel):
    """Writes each object into a folder."""

    test_name = "write access"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def send(self, delivery: Delivery) -> Sent:
        try:
            (self._directory / delivery.sop_instance_uid).write_bytes(delivery.data)
        except OSError as error:
            return Sent("UNREACHABLE", None, str(error.strerror))
        return Sent("ACCEPTED")

    def test(self) -> str:
        return "" if self._directory.is_dir() else f"{self._directory} is not a folder"

    def close(self) -> None:
        """Nothing is open."""


def _open(_settings: Settings, destination: FolderDestination, _hooks: Hooks) -> FolderChannel:
    return FolderChannel(destination.directory)


ROW = {"folder": DestinationType(FolderDestination, _open)}


@pytest.fixture
def settings(tmp_path: Path, untrained: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A configuration with a destination of the new type, once its row is in the table."""
    monkeypatch.setitem(TYPES, "folder", ROW["folder"])
    file = tmp_path / "hilum.toml"
    file.write_text(
        f"[storage]\ndirectory = '{tmp_path}'\n[delivery]\nfirst_retry_seconds = 0.05\n"
        f"[[destination]]\ntype = 'folder'\nname = 'share'\ndirectory = '{tmp_path}/share'\n"
    )
    return read_settings(file, untrained)


def test_a_new_type_needs_its_row() -> None:
    """Without the row the configuration is refused with the types that there are."""
    with pytest.raises(ConfigurationError, match="type is 'folder', expected 'dicom'"):
        read_settings(None, {"HILUM__DESTINATION": '[{"type": "folder", "name": "share", "directory": "/x"}]'})


def test_a_new_type_delivers(settings: Settings, tmp_path: Path) -> None:
    """With the row a courier delivers to it what the journal holds, also after the destination was away."""
    (destination,) = settings.destination
    journal = open_store("", tmp_path).journal
    analysed(journal, "1.2.3", destination.name)
    stop, bell = threading.Event(), Doorbell()
    courier = Courier(settings.delivery, destination, open_channel(settings, destination), journal, bell, stop)
    thread = threading.Thread(target=courier.work)
    thread.start()
    try:
        wait_for(lambda: journal.next_due("share"), what="the first attempt")
        (tmp_path / "share").mkdir()
        wait_for(lambda: bell.ring() or journal.counts()["DELIVERED"], what="the delivery")
    finally:
        stop.set()
        bell.ring()
        thread.join()
    assert [file.read_bytes() for file in (tmp_path / "share").iterdir()] == [b"1.2.3.9"]


def test_a_new_type_is_tested_by_check(settings: Settings, tmp_path: Path) -> None:
    """`hilum check` runs the type's own test under its own name."""
    said = dict(check(settings))
    assert said["write access to share"] == f"{tmp_path}/share is not a folder"
    assert [subject for subject in said if subject.startswith("results for share: sr")]
