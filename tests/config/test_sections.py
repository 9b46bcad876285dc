"""Defaults and values that the configuration and the rest of the program share stand in one place, or agree."""

import json
from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest

from config.presets import PRESETS
from config.sections import DestinationSettings, SelectSettings
from config.settings import ConfigurationError, load
from daemon.translate import selection_rules
from daemon.wiring import read_settings
from dicom_io.composite import codes
from dicom_io.image.selection import SelectionRules
from dicom_io.results import report
from dicom_io.results.language import offered


def test_the_configuration_alone_has_defaults_of_what_is_analysed() -> None:
    """Every key of [select] is a field of SelectionRules without a default, and no other field lacks one."""
    required = {field.name for field in fields(SelectionRules) if field.default is MISSING}
    assert required == set(SelectSettings.model_fields)


@pytest.mark.parametrize("key", ["modalities", "body_parts", "excluded_views"])
def test_an_empty_list_means_the_default(key: str) -> None:
    """An empty list, from a file or the environment, gives the list that config/example.toml shows."""
    default = getattr(SelectSettings(), key)
    settings = load(None, {f"HILUM__SELECT__{key.upper()}": "[]"})
    assert default
    assert getattr(settings.select, key) == default
    assert getattr(selection_rules(settings.select), key) == default


def test_a_list_replaces_the_default() -> None:
    """A list that holds anything is used as it stands, and the other keys keep their defaults."""
    rules = selection_rules(load(None, {"HILUM__SELECT__BODY_PARTS": '["HAND"]'}).select)
    assert rules.body_parts == ("HAND",)
    assert rules.excluded_views == SelectSettings().excluded_views


@pytest.mark.parametrize(("key", "known"), [
    ("sr_class", report.SOP_CLASSES), ("sr_title", codes.TITLES),
])  # fmt: skip
def test_a_report_can_be_made_in_every_way_that_can_be_configured(key: str, known: dict[str, Any]) -> None:
    """The values that a destination may ask for are those that a report is written with, and the default is one."""
    assert set(get_args(DestinationSettings.model_fields[key].annotation)) == set(known)
    assert DestinationSettings.model_fields[key].default in known


def test_a_language_that_there_is_not_is_refused() -> None:
    """The languages are those that the program offers; the refusal names them, and the default is the first."""
    destination = {"name": "a", "ae_title": "A", "host": "h", "port": 1}
    for language in offered():
        environ = {"HILUM__DESTINATION": json.dumps([destination | {"language": language}])}
        assert read_settings(None, environ).destination[0].language == language
    assert DestinationSettings.model_fields["language"].default == offered()[0]
    with pytest.raises(ConfigurationError, match="language is 'xx', expected 'en-US', 'fr'"):
        read_settings(None, {"HILUM__DESTINATION": json.dumps([destination | {"language": "xx"}])})


def destination(**keys: Any) -> DestinationSettings:
    table = {"name": "a", "ae_title": "A", "host": "h", "port": 1, **keys}
    return read_settings(None, {"HILUM__DESTINATION": json.dumps([table])}).destination[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_what_a_viewer_gets(preset: str) -> None:
    """Each preset is a valid destination that gets the picture, which is the one object that every viewer shows."""
    found = destination(preset=preset)
    assert "sc" in found.outputs
    assert {key: getattr(found, key) for key in PRESETS[preset]} == PRESETS[preset]


def test_keys_of_the_destination_win_over_its_preset() -> None:
    """What is given stays as it is given, in any order; what is not given is the preset's, and then the default."""
    found = destination(preset="horos", outputs=["sr"], sr_title="imaging-measurement-report")
    assert (found.outputs, found.sr_class, found.sr_title) == (("sr",), "comprehensive", "imaging-measurement-report")
    assert destination(sr_class="enhanced", preset="horos").sr_class == "enhanced"
    assert destination().outputs == destination(preset="generic").outputs == ("sr", "sc")


def test_an_unknown_preset_is_refused() -> None:
    """A viewer that hilum has no preset for is named, with those that there are."""
    with pytest.raises(ConfigurationError, match="preset: Input should be 'generic', 'ohif'"):
        destination(preset="sectra")
