"""`hilum compare`: what two models said of the same images."""

from typing import Annotated

import typer

from daemon.cli.audit import Since, Until, time_of
from daemon.cli.database import note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config
from daemon.cli.tables import say, show

COLUMNS = ["finding", "scanner", "images", "agree", "gained", "lost", "score_shift"]


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="A model of the configuration, as a rule the one in use.")],
    second: Annotated[str, typer.Argument(help="The one that it is compared with, as a rule the one on trial.")],
    config: Config = None,
    since: Since = "30d",
    until: Until = "",
    finding: Annotated[str, typer.Option(help="Only this finding.")] = "",
    show_examples: Annotated[
        int, typer.Option("--examples", help="So many images to look at of each finding whose call changed.", min=0)
    ] = 3,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare what two models said of the same images: for each finding, over all scanners and for each scanner.

    "agree" is the share of the images on which both models say "above" or neither does. "gained" and "lost" are the
    images on which the second model alone, or the first alone, says so. "score_shift" is by how much the second model's
    score is higher. Intervals are of 95 %; that of the shift takes the images of a study together. No model is run:
    this reads what the daemon kept.
    """
    from daemon.cli.trials.comparison import comparison_rows, examples, shown

    store = store_of(config)
    pairs = store.queries.compared(first, second, since=time_of(since), until=time_of(until))
    note_reading(store, context)
    if not pairs:
        said = ", ".join(store.queries.model_names()) or "none"
        say(f"no image was seen by both {first} and {second} in this time; models with analyses: {said}", err=True)
        raise typer.Exit(1)
    rows = [row for row in comparison_rows(pairs) if finding.lower() in ("", row["finding"].lower())]
    if as_json or as_csv:
        show(rows, list(rows[0]) if rows else COLUMNS, as_json, as_csv)
        return
    show(shown(rows), COLUMNS, False)
    for sentence in examples(pairs, finding, show_examples):
        say(sentence)
