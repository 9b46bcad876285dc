"""daemon.pipeline: which destinations are told of a study of which no image is analysed."""

from pathlib import Path

import pytest

from config.sections import DestinationSettings
from daemon.analysis.answers import _answered
from daemon.analysis.examined import ExaminedImage
from daemon.wiring import read_settings
from dicom_io.image.selection import Sign
from storage.records import Instance
from tests.support.selection import header


def looked(number: int, sign: Sign) -> ExaminedImage:
    return ExaminedImage(
        Instance(number, "1.2", f"1.2.{number}", "1.2.3", "1.2.4", "spooled", "00"),
        header(),
        "ignored",
        "a reason",
        sign=sign,
    )


def asking(**report_ignored: object) -> list[DestinationSettings]:
    return [
        DestinationSettings(type="dicom", name=name, report_ignored=value) for name, value in report_ignored.items()
    ]


def told(images: list[ExaminedImage], destinations: list[DestinationSettings]) -> dict[str, list[int]]:
    """The images that each destination is told of."""
    found = _answered([], images, destinations)
    return {d.name: [image.instance.id for image in shown] for shown, group in found for d in group}


def test_a_possible_chest_is_answered_and_a_hand_is_not() -> None:
    """By default the radiologist learns why a chest was not analysed, and hears nothing of a hand or of a result."""
    images = [looked(1, "chest"), looked(2, "other"), looked(3, "result")]
    assert told(images, [DestinationSettings(type="dicom", name="pacs")]) == {"pacs": [1]}
    assert told(images[1:], [DestinationSettings(type="dicom", name="pacs")]) == {}


def test_each_destination_is_told_what_it_asks_for() -> None:
    """Results of programs are answered nowhere, for two programs that answer each other would never end."""
    images = [looked(1, "chest"), looked(2, "other"), looked(3, "result")]
    assert told(images, asking(a="all", b="chest", c="none")) == {"a": [1, 2], "b": [1]}
    assert told([looked(3, "result")], asking(a="all", b="chest")) == {}
    same = _answered([], [looked(1, "chest")], asking(a="all", b="chest"))
    assert [[d.name for d in group] for _, group in same] == [["a", "b"]]


@pytest.mark.parametrize(("written", "meant"), [
    ("true", "all"), ("false", "none"), ('"chest"', "chest"), ('"all"', "all"), ('"none"', "none"), ('"true"', "all"),
])  # fmt: skip
def test_the_switch_of_earlier_versions_is_understood(tmp_path: Path, written: str, meant: str) -> None:
    """A configuration that says true or false keeps its meaning."""
    file = tmp_path / "hilum.toml"
    pacs = 'name = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104'
    file.write_text(f"[[destination]]\n{pacs}\nreport_ignored = {written}\n")
    assert read_settings(file, {}).destination[0].report_ignored == meant
