"""The command `hilum`. Each command imports what it needs when it runs: `hilum audit` never loads torch."""

import io
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.alerts import alerts
from daemon.cli.audit import audit
from daemon.cli.conflicts import conflicts
from daemon.cli.evaluation import evaluate
from daemon.cli.images.command import predict
from daemon.cli.model import model
from daemon.cli.model_import import import_
from daemon.cli.options import Config, settings_of
from daemon.cli.quarantine import quarantine, replay, retry
from daemon.cli.site.feedback import feedback
from daemon.cli.tables import say
from daemon.cli.training import crossvalidate, train
from daemon.cli.trials.compare import compare
from daemon.cli.trials.promotion import promote, rollback
from daemon.cli.trials.rules import rules
from daemon.runtime.private import close_to_others, dump_no_core
from daemon.wiring import read_settings

app = typer.Typer(
    help="Receive chest radiographs by C-STORE, analyse them, and send a Structured Report back into the same study.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hilum {metadata.version('hilum')}")
        raise typer.Exit


@app.callback()
def hilum(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Receive chest radiographs by C-STORE, analyse them, and send a Structured Report back into the same study."""
    dump_no_core()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's character set lacks must not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def serve(config: Config = None) -> None:
    """Run the daemon.

    The log goes to standard error, one JSON object a line. The event "ready" means that the daemon listens.

    SIGTERM: accept nothing more, finish what is in flight, and exit.

    SIGHUP: read the configuration again.
    """
    from daemon.parts.serve import serve as run

    raise typer.Exit(run(settings_of(config), lambda: read_settings(config, os.environ)))


@app.command()
def check(config: Config = None) -> None:
    """Check configuration, spool, database, decoders, bundle, certificates, and each destination by C-ECHO.

    Prints a line for each check, with a sentence for each fault. The exit status is 1 if there is any fault.
    """
    from daemon.cli.check import check as run

    faults = 0
    for subject, fault in run(settings_of(config)):
        say(f"{'FAULT' if fault else 'ok':5}  {subject}{': ' + fault if fault else ''}")
        faults += bool(fault)
    raise typer.Exit(1 if faults else 0)


@app.command()
def demo(
    input_directory: Annotated[
        Path | None,
        typer.Option(
            "--input", help="Send the DICOM files in this folder instead of drawn radiographs.", file_okay=False
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="The folder for spool, database and reports; default: a new one in the system's own."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws other patients.", min=0)] = 0,
) -> None:
    """Try everything on this machine: start a small PACS and the daemon, send radiographs, and show the results.

    Drawn radiographs are judged by a small model that knows drawings alone, and the table shows what was drawn beside
    what was found. Your own are judged by the model that `hilum serve` uses.

    On a terminal the daemon then keeps running until Ctrl-C, so that you can send more. Otherwise the command exits.
    """
    from daemon.cli.demonstration.demo import demo as run

    close_to_others()
    raise typer.Exit(run(input_directory, keep, stay=sys.stdout.isatty(), seed=seed))


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="The folder that gets drawn.csv and drawn/.", file_okay=False)],
    count: Annotated[int, typer.Option(help="How many radiographs.", min=1)] = 1000,
    seed: Annotated[
        int, typer.Option(help="The first seed. The demonstration draws with the seeds from 0 on.", min=0)
    ] = 100_000,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write them as DICOM files too, to dicom/.")] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Draw round opacities too, and write outlined.csv with masks instead.")
    ] = False,
) -> None:
    """Draw chest radiographs of nobody, with and without findings, as a folder for `hilum train`.

    A fifth shows none of the findings, each of the others one: an effusion, a pneumothorax, a large heart or a mass, on
    a random side and of random strength. With --masks: up to six round opacities more, and the exact masks of lung
    fields and opacities, from which `hilum train` learns to outline them.
    """
    from daemon.cli.demonstration.outlined import write_outlined
    from daemon.cli.demonstration.phantom import write_drawings

    if masks and dicom:
        raise typer.BadParameter("--masks writes pictures alone: leave out --dicom")
    say(str(write_outlined(out, count, seed) if masks else write_drawings(out, count, seed, dicom)))


# added after the commands above, so that --help lists those first
app.add_typer(audit, name="audit")
app.add_typer(quarantine, name="quarantine")
app.add_typer(conflicts, name="conflicts")
app.add_typer(alerts, name="alerts")
app.add_typer(model, name="model")
app.add_typer(rules, name="rules")
model.command("import")(import_)
model.command()(promote)
model.command()(rollback)
for command in (predict, compare, feedback, retry, replay, train, evaluate, crossvalidate):
    app.command()(command)
