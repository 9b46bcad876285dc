"""`hilum evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.model import AsJson, tried
from daemon.cli.options import Config, Ignored
from daemon.cli.site.calibration import evaluate_site
from daemon.cli.tables import progress

DataFolder = Annotated[
    Path | None, typer.Option(help="The folder with the manifests and images.", exists=True, file_okay=False)
]
BundleFolder = Annotated[Path | None, typer.Option(help="The bundle's folder; default: the packaged bundle.")]
Out = Annotated[
    Path | None, typer.Option(help="Write evaluation.json, .md, .html with plots, and predictions.csv here.")
]
Fold = Annotated[int, typer.Option(help="Only the patients of this fold; -1: all.")]
Folds = Annotated[int, typer.Option(help="How many folds.")]
Rounds = Annotated[int, typer.Option(help="Bootstrap samples for the intervals.")]
Others = Annotated[Path | None, typer.Option(help="A folder of pictures that the gate should refuse.", exists=True)]
OutOfFold = Annotated[
    bool, typer.Option(help="Score each patient by the network that has not seen him; DATA is that of training.")
]
Site = Annotated[bool, typer.Option("--site", help="Fit the site's own calibration to its readers' verdicts instead.")]


def evaluate(
    data: DataFolder = None, bundle: BundleFolder = None, out: Out = None, fold: Fold = -1, folds: Folds = 10,
    rounds: Rounds = 200, others: Others = None, ignored: Ignored = None, out_of_fold: OutOfFold = False,
    site: Site = False, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Evaluate a bundle on labelled radiographs, by finding, cohort, view, sex and age, with 95 % intervals.

    With --out-of-fold: the figures of the model card, for a bundle that `hilum crossvalidate` made, on its own data.

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
    from inference.files.strict_json import strict_json
    from inference.training.refit_calls import score_out_of_fold

    opened = tried(lambda: load_bundle(bundle or DEFAULT))
    if opened.task == "segmentation":
        from daemon.cli.images.outlines import evaluate_segmentation

        evaluate_segmentation(data, opened, out, as_json)
        return
    part, score = None if fold < 0 else fold, score_out_of_fold if out_of_fold else None
    with progress("images") as tick:
        result = tried(
            lambda: run(data, opened, out, fold=part, folds=folds, rounds=rounds, others=others,
                        ignored=ignored or (), score=score, tick=tick)
        )  # fmt: skip
    typer.echo(strict_json(result, 1).rstrip() if as_json else evaluation_markdown(result))
