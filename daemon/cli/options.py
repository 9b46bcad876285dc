"""Options that several commands share, and how they read the settings."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config.settings import ConfigurationError, Settings
from daemon.cli.tables import say
from daemon.wiring import read_settings

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="HILUM_CONFIG", help="The configuration file (TOML).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]
Ignored = Annotated[
    list[str] | None,
    typer.Option("--ignore-column", help="A column of the manifests to leave out; give it once for each."),
]
StudyUid = Annotated[str, typer.Argument(help="The Study Instance UID of the study.", metavar="STUDY_UID")]


class Method(StrEnum):
    """How the map behind a location is computed."""

    cam = "cam"
    occlusion = "occlusion"


class Precision(StrEnum):
    """How fine the grid of the occlusion method is."""

    low = "low"
    medium = "medium"
    high = "high"


def settings_of(config: Path | None) -> Settings:
    """Return the settings. If they are faulty, print a line for each fault on standard error and exit with status 2."""
    try:
        return read_settings(config, os.environ)
    except ConfigurationError as fault:
        for line in str(fault).split("\n"):
            say(line, err=True)
        raise typer.Exit(2) from None
