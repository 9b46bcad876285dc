"""`hilum model`: showing and checking bundles, and making bundles of models that others publish."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from daemon.cli.tables import say, show

model = typer.Typer(help="Show and check models, and import your own.", no_args_is_help=True)
COLUMNS = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Named = Annotated[
    str,
    typer.Argument(help="A bundle's folder, or in MLflow models:/NAME/VERSION or models:/NAME@ALIAS; "
                        "default: the packaged bundle."),
]  # fmt: skip
TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's store; default: the file mlruns.db here.")
]


def tried(action: Callable[[], Any]) -> Any:
    """Return what `action` returns. An error that inference raises is printed, and the command exits with status 1."""
    from inference.errors import InferenceError

    try:
        return action()
    except (InferenceError, FileExistsError) as fault:
        say(str(fault), err=True)
        raise typer.Exit(1) from None


@contextmanager
def found_at(bundle: str, tracking_uri: str = "") -> Iterator[Path]:
    """Give the folder of a bundle that is named by its folder or in MLflow; "" is the packaged bundle.

    A bundle from MLflow is copied to a temporary folder, which exists until the end of the block.
    """
    from inference.bundle import DEFAULT
    from inference.training.tracking import fetch_registered, is_registered

    if not is_registered(bundle):
        yield Path(bundle) if bundle else DEFAULT
        return
    with TemporaryDirectory() as copies:
        yield tried(lambda: fetch_registered(bundle, Path(copies), tracking_uri))


@model.command("show")
def show_model(bundle: Named = "", tracking_uri: TrackingUri = "", as_json: AsJson = False) -> None:
    """Show a bundle's name, version, digest and labels, and whether anybody has evaluated its calls."""
    from inference.bundle import load_bundle

    with found_at(bundle, tracking_uri) as directory:
        found = tried(lambda: load_bundle(directory))
        row = {"name": found.name, "version": found.version, "trained": found.trained, "pinned": found.pinned,
               "calls_evaluated": found.evaluated, "digest": found.digest, "labels": list(found.labels),
               "directory": bundle or str(directory)}  # fmt: skip
    show([row], ["name", "version", "trained", "pinned", "calls_evaluated", "digest", "labels"], as_json)


@model.command("list")
def list_models(
    place: Annotated[str, typer.Argument(help="A folder of bundles, or models:/; default: the packaged bundles.")] = "",
    tracking_uri: TrackingUri = "",
    as_json: AsJson = False,
) -> None:
    """List the bundles in a folder, or those that training registered with MLflow (models:/)."""
    from inference.bundle import PACKAGED, load_bundle
    from inference.errors import BundleError
    from inference.training.tracking import is_registered, registered_models

    if is_registered(place):
        show(tried(lambda: registered_models(tracking_uri)), ["model", "aliases", "digest", "run"], as_json)
        return
    directory = Path(place) if place else PACKAGED
    if not directory.is_dir():
        raise typer.BadParameter(f"{directory} is not a folder")
    rows = []
    for path in sorted(p for p in directory.iterdir() if p.is_dir()):
        try:
            found = load_bundle(path)
            rows.append({"directory": path.name, "name": found.name, "version": found.version, "digest": found.digest})
        except BundleError as fault:
            rows.append({"directory": path.name, "fault": str(fault)})
    show(rows, ["directory", "name", "version", "digest", "fault"], as_json)


@model.command("runs")
def show_runs(
    experiment: Annotated[str, typer.Option(help="The experiment in MLflow.")] = "hilum",
    compare: Annotated[Path | None, typer.Option(help="Write a page with all runs beside each other.")] = None,
    tracking_uri: TrackingUri = "",
    as_json: AsJson = False,
) -> None:
    """List the training runs that MLflow has, the newest first, with what was set and the last figures."""
    from inference.registry.runs import comparison_html, recorded_runs

    runs = tried(lambda: recorded_runs(experiment, tracking_uri))
    if compare:
        compare.write_text(comparison_html(runs), encoding="utf-8")
    columns = ["started", "name", "status", "digest", "run"]
    show([vars(run) for run in runs], [*columns, "parameters", "metrics"] if as_json else columns, as_json)


@model.command()
def verify(
    bundle: Named = "",
    sha256: Annotated[str, typer.Option(help="The digest that the bundle must have.")] = "",
    tracking_uri: TrackingUri = "",
) -> None:
    """Check a bundle's digest and its answer to the golden input; exit with status 1 if either is wrong.

    The digest is compared with the one given, the one in the package, the one recorded by `hilum model pull`, and the
    one registered with MLflow, as far as there is one.
    """
    from inference.bundle import load_bundle
    from inference.importing.pull import check_remembered
    from inference.serving.segmenter import open_model

    with found_at(bundle, tracking_uri) as directory:
        found = tried(lambda: load_bundle(directory, sha256 or None))
        tried(lambda: check_remembered(found))
        difference = tried(lambda: open_model(found, threads=1).self_check())
    typer.echo(f"{found.digest}  golden input within {difference:.4f} of the expected probabilities")


@model.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model of the catalogue; default: show the catalogue.")] = "",
    into: Annotated[Path, typer.Option(help="The folder in which the bundle becomes NAME.")] = Path("models"),
    sha256: Annotated[str, typer.Option(help="The SHA-256 that the file must have; default: ask.")] = "",
    trust_pickle: Annotated[bool, typer.Option(help="Unpickle a whole module, in a process without network.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="Use this file, downloaded elsewhere.", exists=True, dir_okay=False)
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help="Your own catalogue (TOML).", exists=True)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the catalogue.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download an open model over HTTPS, confirm its digest, and make a bundle of it.

    An interrupted download is resumed by the same command. The trusted certificates are the system's, or those in the
    file that SSL_CERT_FILE names. https_proxy names a proxy.
    """
    from inference.importing import pull as pulling
    from inference.importing.catalogue import CATALOGUE, find_entry, read_catalogue

    if list_ or not name:
        entries = tried(lambda: read_catalogue(catalogue or CATALOGUE)).values()
        columns = ["name", "what", "licence", "pickle", "urls" if as_json else "home"]
        show([{c: getattr(e, c) for c in columns} for e in entries], columns, as_json)
        return
    entry = tried(lambda: find_entry(name, catalogue or CATALOGUE))
    with Progress(*COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, start=file is None, visible=file is None)

        def confirm(arrived: Path, digest: str) -> bool:
            bar.stop()
            return _agreed(arrived, digest, entry.home)

        made = tried(
            lambda: pulling.pull(
                entry, into, confirm, sha256=sha256, trust_pickle=trust_pickle, file=file,
                report=lambda done, total: bar.update(task, completed=done, total=total),
            )
        )  # fmt: skip
    say_made(made)


def _agreed(file: Path, digest: str, home: str) -> bool:
    """Ask at the prompt whether this is the right file. The answer is no if nobody can be asked."""
    typer.echo(f"{file}, {file.stat().st_size} bytes, has the SHA-256\n  {digest}\nThe catalogue names none. Compare "
               f"it with a source that you trust: {home}, or a colleague's copy.")  # fmt: skip
    try:
        return typer.confirm("Is this the right file?")
    except typer.Abort:
        typer.echo()
        return False


def say_made(made: Any) -> None:
    """Print the folder of a new bundle, and the two lines for [model] with which it may run."""
    typer.echo(made.directory)
    say_pin(made)


def say_pin(made: Any, err: bool = False) -> None:
    """Print the two lines for [model] with which a bundle may run."""
    typer.echo(f'bundle = "{made.directory.resolve()}"\ndigest = "{made.digest}"', err=err)
