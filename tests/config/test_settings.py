"""The configuration file, its overrides and its refusals."""

import re
import tomllib
from pathlib import Path

import pytest

from config.alerting import NOTIFIER_TYPES, AlertSettings
from config.models import ModelSettings
from config.sections import PeerSettings, Section
from config.settings import ConfigurationError, Settings, load
from daemon.delivery.destinations import TYPES
from daemon.wiring import read_settings
from tests.conftest import ROOT

EXAMPLE = ROOT / "config" / "example.toml"


def whole_example() -> str:
    """The example with its optional tables, which have a # before each line."""
    return re.sub(r"^#(?=[a-z\[])", "", EXAMPLE.read_text(), flags=re.MULTILINE)


def documented(data: dict, section: type[Section]) -> None:
    """Every field of the model stands in the example with its default, and nothing else does."""
    fields = {field.alias or name: field for name, field in section.model_fields.items()}
    for name, field in fields.items():
        assert name in data, f"{section.__name__}.{name} is not documented"
        if not field.is_required() and not isinstance(field.default, Section):
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert data[name] == (str(default) if isinstance(default, Path) else default)
    assert set(data) == set(fields)


def test_every_key_is_documented_with_its_default() -> None:
    """config/example.toml holds each key and the default that the code has."""
    data = tomllib.loads(whole_example())
    assert set(data) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if name == "peer":
            documented(data[name][0], PeerSettings)
        elif name == "destination":
            for table in data[name]:
                documented(table, TYPES[table["type"]].settings)
            assert [table["type"] for table in data[name]] == list(TYPES)
        elif name == "model":
            documented(data[name][0], ModelSettings)
        elif name == "alert":
            documented(data[name][0], AlertSettings)
        elif name == "notifier":
            for table in data[name]:
                documented(table, NOTIFIER_TYPES[table["type"]])
            assert [table["type"] for table in data[name]] == list(NOTIFIER_TYPES)
        else:
            documented(data[name], field.annotation)


def test_every_key_has_a_comment() -> None:
    """An administrator reads what each key means beside it."""
    for line in whole_example().splitlines():
        if "=" in line and not line.startswith("#"):
            assert "#" in line, line


def test_the_example_loads_and_the_environment_wins() -> None:
    """HILUM__SECTION__KEY overrides the file, lists as JSON."""
    settings = read_settings(
        EXAMPLE,
        {
            "HILUM__DICOM__PORT": "104",
            "HILUM__DICOM__AE_TITLE": "X",
            "OTHER": "1",
            "HILUM__DESTINATION": '[{"name":"a","ae_title":"A","host":"h","port":1}]',
        },
    )
    assert (settings.dicom.port, settings.dicom.ae_title) == (104, "X")
    assert [d.name for d in settings.destination] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dicom]\nportt = 1", "dicom.portt: no such key"),
        ("[dicom]\nport = 70000", "dicom.port"),
        ("[dicom]\nae_title = 'THIS_IS_FAR_TOO_LONG'", "dicom.ae_title"),
        ("[tls]\ncertificate = 'x'", "needed together"),
        ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\ntls=true", "needs [tls]"),
        ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\n" * 2, "unique"),
        ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=70000\n", "destination.0.port"),
        ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\nurl='x'", "destination.0.url: no such key"),
        ("[[destination]]\nname='a'\ntype='pigeon'", "type is 'pigeon', expected 'dicom'"),
        (
            "[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\noutputs=['film']",
            "outputs names 'film', expected some of 'sr', 'sc'",
        ),
        ("x", "is no TOML"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, said: str) -> None:
    """A wrong configuration is refused with the key's name."""
    file = tmp_path / "hilum.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[").replace(".", r"\.")):
        read_settings(file, {})


def test_the_database_url_can_be_a_secret_file(tmp_path: Path) -> None:
    """A URL with a password need not stand in the configuration."""
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://u:p@h/d\n")
    settings = load(None, {"HILUM__STORAGE__DATABASE_FILE": str(secret)})
    assert settings.storage.database_url() == "postgresql+psycopg://u:p@h/d"
