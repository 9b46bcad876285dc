"""The command `hilum`. Each command imports what it needs when it runs: `hilum audit` never loads torch."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config.settings import ConfigurationError, Settings
from daemon.cli import audit, model, training
from daemon.wiring import read_settings

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="HILUM_CONFIG", help="The configuration file (TOML).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

app = typer.Typer(
    help="Chest radiographs in by C-STORE, a Structured Report back in the same study.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(audit.audit, name="audit")
app.add_typer(audit.quarantine, name="quarantine")
app.add_typer(model.model, name="model")
app.command()(audit.retry)
app.command()(audit.replay)
app.command()(training.train)
app.command()(training.evaluate)
app.command()(training.crossvalidate)


def settings_of(config: Path | None) -> Settings:
    """The settings, or the faults on standard error and exit status 2."""
    try:
        return read_settings(config, os.environ)
    except ConfigurationError as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None


@app.command()
def serve(config: Config = None) -> None:
    """Run the daemon. Logs go to standard error, one JSON object a line; the event "ready" says that it listens.

    SIGTERM: stop accepting, finish what is in flight, end. SIGHUP: read the configuration again.
    """
    from daemon.parts.serve import serve as run

    raise typer.Exit(run(settings_of(config), lambda: read_settings(config, os.environ)))


@app.command()
def check(config: Config = None) -> None:
    """Test configuration, bundle, decoders, database, spool, certificates, and C-ECHO to each destination.

    Ends with 1 and a sentence for each fault.
    """
    from daemon.cli.check import check as run

    faults = 0
    for subject, fault in run(settings_of(config)):
        typer.echo(f"{'FAULT' if fault else 'ok':5}  {subject}{': ' + fault if fault else ''}")
        faults += bool(fault)
    raise typer.Exit(1 if faults else 0)


class Method(StrEnum):
    """How a heatmap is made."""

    cam = "cam"
    occlusion = "occlusion"


class Precision(StrEnum):
    """The grid of occlusion."""

    low = "low"
    medium = "medium"
    high = "high"


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="DICOM, PNG or JPEG files, or folders of them.", exists=True)],
    config: Config = None,
    as_json: AsJson = False,
    explain: Annotated[Path | None, typer.Option(help="Write heatmaps of what is present to this folder.")] = None,
    method: Annotated[Method, typer.Option(help="cam: the network's own; occlusion: slow, of any.")] = Method.cam,
    precision: Annotated[Precision, typer.Option(help="The grid of occlusion.")] = Precision.medium,
) -> None:
    """Say what the model finds in images, without PACS and database.

    Ends with 1 where an image was not analysed, with 2 where the model cannot run.
    """
    from daemon.cli.predict import predict as run
    from daemon.cli.predict import show
    from daemon.decisions import CannotWork

    try:
        results = run(files, settings_of(config), explain, method, precision)
    except CannotWork as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None
    show(results, as_json, one=len(files) == 1 and files[0].is_file())
    raise typer.Exit(0 if results and all(r["analysed"] for r in results) else 1)


@app.command()
def demo(
    input_directory: Annotated[
        Path | None, typer.Option("--input", help="Your own DICOM files instead of drawn ones.", file_okay=False)
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep spool, database and reports in this folder.")] = None,
) -> None:
    """The whole job on this machine: a small PACS, the daemon, radiographs, and the results in a table.

    On a terminal it stays up until Ctrl-C, so that you can send more; otherwise it ends by itself.
    """
    from daemon.cli.demo import demo as run

    raise typer.Exit(run(input_directory, keep, stay=sys.stdout.isatty()))
