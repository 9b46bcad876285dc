"""What a changed configuration concerns, and that a row about it holds names and no values."""

from pathlib import Path

import pytest

from daemon.parts.changes import Configuration, changed_keys, restarts, sections_of, takes_over
from daemon.parts.serve import names_for
from daemon.wiring import read_settings

NOTIFIER = '[{"type": "apprise", "name": "chat", "urls_file": "urls"}]'


def configuration(text: str, path: Path) -> Configuration:
    path.write_text(text)
    return Configuration.of(read_settings(path, {}))


def test_keys_are_named_and_values_are_not(tmp_path: Path) -> None:
    """Changed, added and removed keys, and a file whose content changed under its name."""
    file, secret = tmp_path / "hilum.toml", tmp_path / "url"
    secret.write_text("sqlite:////tmp/one.db")
    stored = f"[storage]\ndatabase_file = '{secret}'\n"
    old = configuration(stored + "[[peer]]\nae_title = 'CT1'\nhost = 'a'\n", file)
    assert changed_keys(old, old) == []
    secret.write_text("sqlite:////tmp/two.db")
    new = configuration(
        stored + "[[peer]]\nae_title = 'CT2'\nhost = 'a'\n[model]\ndigest = 'sha256:1'\n"
        "[[destination]]\nname = 'pacs'\nae_title = 'PACS'\nhost = 'b'\nport = 104\n", file
    )  # fmt: skip
    assert changed_keys(old, new) == [
        "destination.pacs",
        "model.digest",
        "peer.CT1",
        "peer.CT2",
        "storage.database_file",
    ]


@pytest.mark.parametrize(
    ("section", "restarted", "told"),
    [
        ("peer", set(), {"receive", "deliver"}),
        ("model", {"analyse-0"}, {"receive"}),
        ("analysis", {"analyse-0", "house"}, {"receive"}),
        ("delivery", {"deliver", "notify"}, {"receive"}),
        ("http", {"house"}, {"receive"}),
        ("alert", {"analyse-0"}, {"receive"}),
        ("notifier", {"notify", "house"}, {"receive"}),
        ("dicom", {"receive", "deliver", "notify", "house", "analyse-0"}, set()),
        ("unheard_of", {"deliver", "notify", "house", "analyse-0"}, {"receive"}),
    ],
)
def test_only_those_concerned_are_restarted(section: str, restarted: set[str], told: set[str]) -> None:
    """A section that nobody has thought of restarts every part but the receiver, which is told."""
    names = names_for(read_settings(None, {"HILUM__NOTIFIER": NOTIFIER}))
    sections = sections_of([f"{section}.key"])
    assert {name for name in names if restarts(name, sections)} == restarted
    assert {name for name in names if takes_over(name, sections)} - restarted == told


def test_a_part_that_notifies_needs_a_notifier() -> None:
    """Who has none runs no process for it."""
    assert "notify" not in names_for(read_settings(None, {}))
    assert "notify" in names_for(read_settings(None, {"HILUM__NOTIFIER": NOTIFIER}))
