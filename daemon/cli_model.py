"""`hilum model`: bundles looked at, checked, and made of what others publish."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from daemon.tables import show

model = typer.Typer(help="Models: look at them, check them, bring your own.", no_args_is_help=True)
COLUMNS = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BundleDirectory = Annotated[Path | None, typer.Argument(help="A bundle's folder; none: the one in the package.")]


def tried(action: Callable[[], Any]) -> Any:
    """What `action` returns; an error of ours as one sentence and exit status 1."""
    from inference.errors import InferenceError

    try:
        return action()
    except (InferenceError, FileExistsError) as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None


@model.command("show")
def show_model(bundle: BundleDirectory = None, as_json: AsJson = False) -> None:
    """Name, version, digest and labels of a bundle."""
    from inference.bundle import DEFAULT, load

    found = tried(lambda: load(bundle or DEFAULT))
    row = {"name": found.name, "version": found.version, "trained": found.trained, "pinned": found.pinned,
           "digest": found.digest, "labels": list(found.labels), "directory": str(found.directory)}  # fmt: skip
    show([row], ["name", "version", "trained", "pinned", "digest", "labels"], as_json)


@model.command("list")
def list_models(
    directory: Annotated[Path | None, typer.Argument(help="A folder of bundles; none: the package's.")] = None,
    as_json: AsJson = False,
) -> None:
    """The bundles in a folder."""
    from inference.bundle import PACKAGED, load
    from inference.errors import BundleError

    rows = []
    for path in sorted(p for p in (directory or PACKAGED).iterdir() if p.is_dir()):
        try:
            found = load(path)
            rows.append({"directory": path.name, "name": found.name, "version": found.version, "digest": found.digest})
        except BundleError as fault:
            rows.append({"directory": path.name, "fault": str(fault)})
    show(rows, ["directory", "name", "version", "digest", "fault"], as_json)


@model.command()
def verify(
    bundle: BundleDirectory = None,
    sha256: Annotated[str, typer.Option(help="The digest that it must have.")] = "",
) -> None:
    """Check a bundle's digest and its answer to the golden input; end with 1 where either is wrong."""
    from inference.bundle import DEFAULT, load
    from inference.engine import Classifier

    found = tried(lambda: load(bundle or DEFAULT, sha256 or None))
    difference = tried(lambda: Classifier(found, threads=1).self_check())
    typer.echo(f"{found.digest}  golden input within {difference:.4f} of the expected probabilities")


@model.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model of the catalogue; none: the catalogue.")] = "",
    into: Annotated[Path, typer.Option(help="The folder of models; the bundle is its folder NAME.")] = Path("models"),
    sha256: Annotated[str, typer.Option(help="The SHA-256 that the file must have; none: you are asked.")] = "",
    trust_pickle: Annotated[bool, typer.Option(help="Unpickle a whole module, in a process without network.")] = False,
    file: Annotated[Path | None, typer.Option(help="The file, fetched elsewhere.", exists=True, dir_okay=False)] = None,
    catalogue: Annotated[Path | None, typer.Option(help="A catalogue (TOML) of your own.", exists=True)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the catalogue.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download an open model over HTTPS, agree to what arrived, and make a bundle of it. A broken download goes on.

    Certificates are the system's or those of SSL_CERT_FILE; a proxy is named by https_proxy.
    """
    from inference import pull as pulling
    from inference.catalogue import CATALOGUE, find, read_catalogue

    if list_ or not name:
        entries = tried(lambda: read_catalogue(catalogue or CATALOGUE)).values()
        columns = ["name", "what", "licence", "pickle", "urls" if as_json else "home"]
        show([{c: getattr(e, c) for c in columns} for e in entries], columns, as_json)
        return
    entry = tried(lambda: find(name, catalogue or CATALOGUE))
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
    _say(made)


def _agreed(file: Path, digest: str, home: str) -> bool:
    """Whether the person at the prompt says that this is the file; nobody there: no."""
    typer.echo(f"{file}, {file.stat().st_size} bytes, has the SHA-256\n  {digest}\nThe catalogue names none. Compare "
               f"it with a source that you trust: {home}, or a copy of a colleague's.")  # fmt: skip
    try:
        return typer.confirm("Is this the file?")
    except typer.Abort:
        typer.echo()
        return False


def _say(made: Any) -> None:
    """Where a new bundle lies, as the two lines that let it run."""
    typer.echo(f'{made.directory}\nbundle = "{made.directory.resolve()}"\ndigest = "{made.digest}"')


@model.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A state dict (.pt, .safetensors), an ONNX file or a MONAI bundle.")],
    directory: Annotated[Path, typer.Argument(help="The new bundle's folder; must not exist.")],
    name: Annotated[str, typer.Option(help="The model's name in reports.")] = "",
    version: Annotated[str, typer.Option(help="Its version.")] = "imported",
    labels: Annotated[str, typer.Option(help="Its outputs, by comma; empty parts for outputs without meaning.")] = "",
    size: Annotated[int, typer.Option(help="Side of its input, pixels; 0: 224.")] = 0,
    preprocessing: Annotated[str, typer.Option(help="xrayvision, imagenet or standard; empty: by the naming.")] = "",
    thresholds: Annotated[str, typer.Option(help="LABEL=0.4,LABEL=0.3; 0.5 for the others.")] = "",
    trust_pickle: Annotated[bool, typer.Option(help="Unpickle a whole module, in a process without network.")] = False,
) -> None:
    """Make a bundle of a model that you bring; it runs once its digest is pinned in model.digest."""
    from inference.importer import Wanted, import_model

    try:
        by_label = {k: float(v) for k, v in (part.split("=") for part in thresholds.split(",") if part)}
    except ValueError:
        raise typer.BadParameter(f"{thresholds!r}: write LABEL=0.4,LABEL=0.3") from None
    wanted = Wanted(
        name=name, version=version, labels=labels.split(",") if labels else (), size=size, preprocessing=preprocessing,
        thresholds=by_label, trust_pickle=trust_pickle,
    )  # fmt: skip
    made = tried(lambda: import_model(source, directory, wanted))
    _say(made)
