"""`hilum model`: bundles looked at, checked, and made of what others publish."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.tables import show

model = typer.Typer(help="Models: look at them, check them, bring your own.", no_args_is_help=True)
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
    typer.echo(f'{made.directory}\nbundle = "{made.directory.resolve()}"\ndigest = "{made.digest}"')
