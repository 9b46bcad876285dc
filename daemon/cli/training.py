"""`hilum train`, `crossvalidate`, and `hilum model probe`, `gate`, `calls` and `location`."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.model import TrackingUri, model, say_pin, tried
from daemon.cli.options import Ignored, Method, Precision
from daemon.cli.tables import say

if TYPE_CHECKING:
    from inference.training.recipe import Recipe
    from inference.training.segmentation.outline_recipe import OutlineRecipe

Data = Annotated[Path, typer.Option(help="The folder with the manifests and images.", exists=True, file_okay=False)]

RecipeFile = Annotated[Path | None, typer.Option(help="A JSON file that changes the recipe.", exists=True)]
Findings = Annotated[
    str, typer.Option(help="Comma-separated columns of the findings to learn; default: those of ChestX-ray14.")
]


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle's folder. An interrupted run is resumed.")],
    recipe: RecipeFile = None,
    findings: Findings = "",
    ignored: Ignored = None,
    fold: Annotated[int, typer.Option(help="The fold of the patients that is held out; -1: none.")] = 0,
    folds: Annotated[
        int, typer.Option(help="How many folds; 0: ten, or fewer if rare findings need more patients held out.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    licence: Annotated[
        str, typer.Option(help="The licence of the weights, for the model card; default: that none is stated.")
    ] = "",
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
    tracker = tried(lambda: MlflowTracker(uri=tracking_uri, note=note, name=out.name)) if track else None
    bundle = tried(
        lambda: run(data, out, chosen, fold=part, folds=folds, findings=_named(findings),
                    ignored=ignored or (), device=device, threads=threads, licence=licence, tracker=tracker,
                    remark=_remark)
    )  # fmt: skip
    say_pin(bundle)


def crossvalidate(
    data: Data,
    work: Annotated[Path, typer.Option(help="The folder of the folds. An interrupted run is resumed.")],
    bundle: Annotated[Path | None, typer.Option(help="Write the mean of the networks here, as one bundle.")] = None,
    recipe: RecipeFile = None,
    findings: Findings = "",
    ignored: Ignored = None,
    folds: Annotated[int, typer.Option(help="How many folds of the patients.")] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
) -> None:
    """Train a network for each fold of the patients and score it on patients that it has not seen.

    Prints the table of the model card.
    """
    from inference.bundle import load_bundle
    from inference.training.add_probe import add_probe
    from inference.training.averaging import write_average
    from inference.training.crossvalidate import (
        cross_validate,
        cross_validation_markdown,
        table_to_cross_validate,
    )

    chosen = _read_recipe(recipe)
    columns: dict[str, Any] = {"findings": _named(findings), "ignored": ignored or ()}
    result = tried(
        lambda: cross_validate(data, work, chosen, folds=folds, device=device, threads=threads, remark=_remark,
                               **columns)
    )  # fmt: skip
    typer.echo(cross_validation_markdown(result))
    if bundle:
        table = tried(lambda: table_to_cross_validate(data, folds, **columns))
        made = tried(lambda: write_average(bundle, work, table, chosen, folds))
        if chosen.probe:
            typer.echo(cross_validation_markdown(tried(lambda: add_probe(data, bundle, chosen, ignored=ignored or ()))))
            made = load_bundle(bundle)
        say_pin(made)


@model.command()
def probe(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The folder of a bundle that crossvalidate made.", exists=True)],
    version: Annotated[str, typer.Option(help="The bundle's new version; default: as it is.")] = "",
    manifests: Annotated[str, typer.Option(help="Comma-separated names of the CSV files; default: all.")] = "",
    recipe: RecipeFile = None,
    ignored: Ignored = None,
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
    figures = tried(lambda: add_probe(data, bundle, chosen, names, version, ignored=ignored or ()))
    typer.echo(cross_validation_markdown(figures))
    typer.echo(json.dumps(figures["gain"]))
    say_pin(load_bundle(bundle), err=True)


@model.command()
def gate(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The bundle's folder; its gate is replaced.", exists=True)],
    chests: Annotated[
        str, typer.Option(help="Comma-separated names of the CSV files of pictures that pass; default: all manifests.")
    ] = "",
    others: Annotated[
        str, typer.Option(help="Comma-separated names of CSV files of other pictures; default: drawn ones alone.")
    ] = "",
    dicom: Annotated[str, typer.Option(help="The name of a CSV file of DICOM files; default: none.")] = "",
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
    ignored: Ignored = None,
) -> None:
    """Compare a bundle's maps with boxes; contours are drawn only of findings whose maps beat their usual place."""
    from inference.bundle import load_bundle
    from inference.training.location.location_data import refit_location

    names = manifests.split(",") if manifests else []
    part = tried(
        lambda: refit_location(
            data,
            bundle,
            boxes,
            manifests=names,
            ignored=ignored or (),
            method=method,
            precision=precision,
            plain=pictures,
            each=each,
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
    ignored: Ignored = None,
) -> None:
    """Fit the calls of a bundle anew, on the data of its cross-validation; weights and probabilities stay.

    Prints the tables of the model card.
    """
    from inference.bundle import load_bundle
    from inference.training.calls_card import calls_markdown
    from inference.training.fit_calls import CallLimits
    from inference.training.refit_calls import refit_calls

    names, limits = tuple(filter(None, manifests.split(","))), CallLimits(false_calls=false_calls)
    content = tried(lambda: refit_calls(data, bundle, names, limits, version, ignored=ignored or ()))
    typer.echo(calls_markdown(content))
    say_pin(load_bundle(bundle), err=True)


def _read_recipe(file: Path | None) -> "Recipe":
    """Return the recipe with the changes in a JSON file. A fault in it ends the command."""
    from inference.training.recipe import Recipe, read_recipe

    recipe: Recipe = tried(lambda: read_recipe(file) if file else Recipe())
    return recipe


def _named(findings: str) -> tuple[str, ...]:
    from inference.evaluation.data import FINDINGS

    return tuple(filter(None, map(str.strip, findings.split(",")))) or FINDINGS


def _remark(sentence: str) -> None:
    say(sentence, err=True)


def _read_outline_recipe(file: Path | None) -> "OutlineRecipe | None":
    """Return the recipe in a JSON file whose "task" is "segmentation"; None for another. Raises BadParameter."""
    from inference.training.segmentation.outline_recipe import OutlineRecipe

    changes: Any = None
    with suppress(ValueError):  # `_read_recipe` says what is wrong with it
        changes = json.loads(file.read_text()) if file else None
    if not isinstance(changes, dict) or changes.get("task") != "segmentation":
        return None
    try:
        return OutlineRecipe(**changes)
    except (TypeError, ValueError) as fault:
        raise typer.BadParameter(f"{file}: {fault}") from None
