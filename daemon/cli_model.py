"""`hilum model`, `train`, `evaluate`: for the data scientist."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.tables import show

model = typer.Typer(help="Models: look at them, check them, bring your own.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path, typer.Option(help="The folder with the manifests and images.", exists=True, file_okay=False)]


@model.command("show")
def show_model(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle's folder; none: the default one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name, version, digest, labels and operating points of a bundle."""
    from inference.bundle import DEFAULT, load

    found = load(bundle or DEFAULT)
    show([{"name": found.name, "version": found.version, "trained": found.trained, "digest": found.digest,
           "labels": list(found.labels)}], ["name", "version", "trained", "digest", "labels"], as_json)
