"""`hilum train`, `crossvalidate`, `evaluate`, and `hilum model probe`, `gate`, `calls` and `location`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.model import AsJson, TrackingUri, model, say_pin, tried
from daemon.cli.options import Config, Method, Precision
from daemon.cli.site.calibration import evaluate_site

if TYPE_CHECKING:
    from inference.training.recipe import Recipe
    from inference.training.segmentation.outline_recipe import OutlineRecipe

Data = Annotated[Path, typer.Option(help="The folder with the manifests and images.", exists=True, file_okay=False)]

RecipeFile = Annotated[Path | None, typer.Option(help="A JSON file that changes the recipe.", exists=True)]


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle's folder. An interrupted run is resumed.")],
    recipe: RecipeFile = None,
    fold: Annotated[int, typer.Option(help="The fold of the patients that is held out; -1: none.")] = 0,
    folds: Annotated[int, typer.Option(help="How many folds.")] = 10,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    tracking_uri: TrackingUri = "",
    track: Annotated[bool, typer.Option(help="Track the run with MLflow.")] = True,
) -> None:
    """Train a network on radiographs and write a calibrated bundle."""
    from inference.training.segmentation.train_outlines import train_outlines
    from inference.training.tracking import MlflowTracker
    from inference.training.train import train as run

    part = None if fold < 0 else fold
    if outlines := _read_outline_recipe(recipe):
        say_pin(
            tried(lambda: train_outlines(data, out, outlines, fold=part, folds=folds, device=device, threads=threads))
        )
        return
    chosen = _read_recipe(recipe)
    note = out.with_name(f"{out.name}.training") / "mlflow-run"
    tracker = tried(lambda: MlflowTracker(uri=tracking_uri, note=note)) if track else None
    bundle = tried(
        lambda: run(data, out, chosen, fold=part, folds=folds, device=device, threads=threads,
                    tracker=tracker)
    )  # fmt: skip
    say_pin(bundle)


def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="The folder with the manifests and images.", exists=True, file_okay=False)
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle's folder; default: the packaged bundle.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write evaluation.json, .md and .html with plots here.")] = None,
    fold: Annotated[int, typer.Option(help="Only the patients of this fold; -1: all.")] = -1,
    folds: Annotated[int, typer.Option(help="How many folds.")] = 10,
    rounds: Annotated[int, typer.Option(help="Bootstrap samples for the intervals.")] = 200,
    others: Annotated[
        Path | None, typer.Option(help="A folder of pictures that the gate should refuse.", exists=True)
    ] = None,
    site: Annotated[
        bool, typer.Option("--site", help="Fit the site's own calibration to its readers' verdicts instead.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a bundle on labelled radiographs, by finding, cohort, view, sex and age, with 95 % intervals.

    With --site: fit probabilities and thresholds to what readers said of the results (hilum feedback), with the bundle
    and the database of the configuration. Each is taken only if it is better than what ships on patients that it was
    not fitted on. --out DIR writes site-calibration.json, which [model] site_calibration puts into force.
    """
    if site:
        if data or bundle or others:
            raise typer.BadParameter("--site takes bundle and verdicts from the configuration: leave out --data, "
                                     "--bundle and --others")  # fmt: skip
        evaluate_site(config, out, as_json)
        return
    if data is None:
        raise typer.BadParameter("give --data DIR with labelled radiographs, or --site")
    from inference.bundle import DEFAULT, load_bundle
    from inference.evaluation.evaluate import evaluate as run
    from inference.evaluation.evaluation_page import evaluation_markdown

    part = None if fold < 0 else fold
    opened = tried(lambda: load_bundle(bundle or DEFAULT))
    if opened.task == "segmentation":
        from daemon.cli.outlines import evaluate_segmentation

        evaluate_segmentation(data, opened, out, as_json)
        return
    result = tried(lambda: run(data, opened, out, fold=part, folds=folds, rounds=rounds, others=others))
    typer.echo(json.dumps(result, indent=1, default=float) if as_json else evaluation_markdown(result))


def crossvalidate(
    data: Data,
    work: Annotated[Path, typer.Option(help="The folder of the folds. An interrupted run is resumed.")],
    bundle: Annotated[Path | None, typer.Option(help="Write the mean of the networks here, as one bundle.")] = None,
    recipe: RecipeFile = None,
    folds: Annotated[int, typer.Option(help="How many folds of the patients.")] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
) -> None:
    """Train a network for each fold of the patients and score it on patients that it has not seen.

    Prints the table of the model card.
    """
    from inference.bundle import load_bundle
    from inference.evaluation.data import read_table
    from inference.training.add_probe import add_probe
    from inference.training.averaging import write_average
    from inference.training.crossvalidate import cross_validate, cross_validation_markdown

    chosen = _read_recipe(recipe)
    result = tried(lambda: cross_validate(data, work, chosen, folds=folds, device=device, threads=threads))
    typer.echo(cross_validation_markdown(result))
    if bundle:
        made = tried(lambda: write_average(bundle, work, read_table(data), chosen, folds))
        if chosen.probe:
            typer.echo(cross_validation_markdown(tried(lambda: add_probe(data, bundle, chosen))))
            made = load_bundle(bundle)
        say_pin(made)


@model.command()
def probe(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The folder of a bundle that crossvalidate made.", exists=True)],
    version: Annotated[str, typer.Option(help="The bundle's new version; default: as it is.")] = "",
    manifests: Annotated[str, typer.Option(help="Comma-separated names of the CSV files; default: all.")] = "",
    recipe: RecipeFile = None,
) -> None:
    """Add features of a published network to an average of networks, if it is better with them.

    Prints the table of the model card, and what was gained.
    """
    from inference.bundle import load_bundle
    from inference.training.add_probe import add_probe
    from inference.training.crossvalidate import cross_validation_markdown
    from inference.training.recipe import Recipe, early_layers

    chosen, names = _read_recipe(recipe), tuple(filter(None, manifests.split(",")))
    chosen = chosen if chosen.probe else Recipe(probe=early_layers())
    figures = tried(lambda: add_probe(data, bundle, chosen, names, version))
    typer.echo(cross_validation_markdown(figures))
    typer.echo(json.dumps(figures["gain"]))
    say_pin(load_bundle(bundle), err=True)


@model.command()
def gate(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The bundle's folder; its gate is replaced.", exists=True)],
    chests: Annotated[
        str, typer.Option(help="Comma-separated CSV files of frontal chests.")
    ] = "nih128,nih512,covid512",
    others: Annotated[str, typer.Option(help="Comma-separated CSV files of other pictures.")] = "children224",
    dicom: Annotated[str, typer.Option(help="The CSV file of DICOM files; '': none.")] = "dicom",
    most: Annotated[
        int, typer.Option(help="Pictures of each CSV file of chests; a fourth of it, of other pictures.")
    ] = 3000,
    expects: Annotated[
        str, typer.Option(help="What passes, as a refusal names it; default: a frontal chest radiograph of an adult.")
    ] = "",
) -> None:
    """Fit a bundle's gate, which refuses what is not a frontal chest radiograph of an adult, and say how good it is."""
    from daemon.cli.gate_fitting import refit_gate
    from inference.bundle import load_bundle

    worth = tried(lambda: refit_gate(data, bundle, chests.split(","), others.split(","), dicom, expects or None, most))
    typer.echo(json.dumps(worth, indent=1))
    say_pin(load_bundle(bundle), err=True)


@model.command()
def location(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The bundle's folder; its rule is replaced.", exists=True)],
    boxes: Annotated[
        Path | None,
        typer.Option(help="A CSV file of boxes (file,finding,x,y,w,h); default: draw lesions.", exists=True),
    ] = None,
    manifests: Annotated[str, typer.Option(help="Comma-separated CSV files of the folder; default: all.")] = "",
    method: Annotated[Method, typer.Option(help="How maps are computed.")] = Method.cam,
    precision: Annotated[Precision, typer.Option(help="How fine the grid of occlusion is.")] = Precision.low,
    pictures: Annotated[int, typer.Option(help="How many pictures the mean map is made from.")] = 256,
    each: Annotated[int, typer.Option(help="How many lesions of each finding are drawn, without boxes.")] = 300,
) -> None:
    """Compare a bundle's maps with boxes; contours are drawn only of findings whose maps beat their usual place."""
    from inference.bundle import load_bundle
    from inference.training.location.location_data import refit_location

    names = manifests.split(",") if manifests else []
    part = tried(
        lambda: refit_location(
            data, bundle, boxes, manifests=names, method=method, precision=precision, plain=pictures, each=each
        )
    )
    typer.echo(json.dumps(part, indent=1))
    say_pin(load_bundle(bundle), err=True)


@model.command()
def calls(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The folder of a bundle that crossvalidate made.", exists=True)],
    version: Annotated[str, typer.Option(help="The bundle's new version; default: as it is.")] = "",
    manifests: Annotated[str, typer.Option(help="Comma-separated names of the CSV files; default: all.")] = "",
    false_calls: Annotated[
        float, typer.Option(help="Of the images of a view without a finding, the share that may get a call.")
    ] = 0.03,
) -> None:
    """Fit the calls of a bundle anew, on the data of its cross-validation; weights and probabilities stay.

    Prints the tables of the model card.
    """
    from inference.bundle import load_bundle
    from inference.training.calls_card import calls_markdown
    from inference.training.fit_calls import CallLimits
    from inference.training.refit_calls import refit_calls

    names, limits = tuple(filter(None, manifests.split(","))), CallLimits(false_calls=false_calls)
    content = tried(lambda: refit_calls(data, bundle, names, limits, version))
    typer.echo(calls_markdown(content))
    say_pin(load_bundle(bundle), err=True)


def _read_recipe(file: Path | None) -> "Recipe":
    """Return the recipe of a classification with the changes in a JSON file. Raises BadParameter."""
    from inference.training.recipe import Recipe

    try:
        return Recipe(**_changes(file))
    except (TypeError, ValueError) as fault:
        raise typer.BadParameter(f"{file}: {fault}") from None


def _read_outline_recipe(file: Path | None) -> "OutlineRecipe | None":
    """Return the recipe in a JSON file whose "task" is "segmentation"; None for another. Raises BadParameter."""
    from inference.training.segmentation.outline_recipe import OutlineRecipe

    changes = _changes(file)
    try:
        return OutlineRecipe(**changes) if changes.get("task") == "segmentation" else None
    except (TypeError, ValueError) as fault:
        raise typer.BadParameter(f"{file}: {fault}") from None


def _changes(file: Path | None) -> dict[str, Any]:
    """Return what a JSON file changes of a recipe; {} without a file. Raises BadParameter."""
    try:
        found = json.loads(file.read_text()) if file else {}
    except ValueError as fault:
        raise typer.BadParameter(f"{file}: {fault}") from None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{file} holds a {type(found).__name__}, expected an object")
    return found
