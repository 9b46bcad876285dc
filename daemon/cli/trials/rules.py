"""`hilum rules`: which models a file is for, and why."""

from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from daemon.cli.options import AsJson, Config, settings_of
from daemon.cli.tables import say, show
from daemon.decisions import CannotWork

rules = typer.Typer(help="Say which models the configuration has for a file, and why.", no_args_is_help=True)


@rules.command()
def explain(
    files: Annotated[list[Path], typer.Argument(help="DICOM files.", exists=True, dir_okay=False)],
    peer: Annotated[str, typer.Option(help="The AE title that sends them; default: any.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say of each file which models would analyse it, why the others would not, and who would get the results.

    No model is loaded and nothing is stored. Which model is on trial is read from the database, if there is one.
    """
    from daemon.analysis.routing import Route, routes
    from dicom_io.image.header import read_header
    from dicom_io.image.no_picture import NoPicture
    from storage.errors import StorageError

    def row(file: Path, route: Route) -> dict[str, Any]:
        found = {"file": str(file), "model": route.name, "on_trial": route.shadow}
        try:
            verdict = route.select(read_header(file), peer)
        except NoPicture as fault:
            return found | {"runs": False, "why": str(fault), "destinations": []}
        names = [destination.name for destination in route.destinations] if verdict.eligible else []
        return found | {"runs": verdict.eligible, "why": verdict.reason, "destinations": names}

    settings = settings_of(config)
    try:
        routed = routes(settings, _promotions(settings))
    except (CannotWork, StorageError) as fault:
        say(str(fault), err=True)
        raise typer.Exit(2) from None
    rows = [row(file, route) for file in files for route in routed]
    show(rows, ["file", "model", "on_trial", "runs", "why", "destinations"], as_json)


def _promotions(settings: Settings) -> list[tuple[str, str]]:
    """Return which models were promoted or set back; none where there is no database yet, and none is made."""
    from storage.database import database_files
    from storage.store import open_store

    url, directory = settings.storage.database_url(), settings.storage.directory
    if not url.startswith("postgres") and not any(file.exists() for file in database_files(url, directory)):
        return []
    return open_store(url, directory).journal.promotions()
