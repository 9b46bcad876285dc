"""What commands read from the files in the spool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from daemon.cli.options import settings_of
from daemon.cli.tables import say
from storage.errors import SpoolError
from storage.spool import Spool

if TYPE_CHECKING:
    from dicom_io.image.header import Header


def spool_of(config: Path | None) -> Spool:
    """The spool of the configuration."""
    return Spool(settings_of(config).storage.directory / "spool")


def header_of(spool: Spool, row: dict[str, Any], prefix: str = "", name: str = "object") -> Header:
    """The header of the file that a row names by `spool_name` and `sha256`, each with `prefix` before it.

    Ends the command with a sentence on standard error and status 1 if the file cannot be read.
    """
    from dicom_io.image.header import read_header
    from dicom_io.image.no_picture import NoPicture

    try:
        return read_header(spool.verified(row[f"{prefix}spool_name"], row[f"{prefix}sha256"]))
    except (SpoolError, NoPicture) as fault:
        say(f"the {name} cannot be read: {fault}", err=True)
        raise typer.Exit(1) from None
