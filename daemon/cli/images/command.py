"""`hilum predict`: its options, and what it exits with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.options import AsJson, Config, Method, Precision, settings_of
from daemon.cli.tables import print_line, progress, say

Files = Annotated[
    list[Path], typer.Argument(help="DICOM, PNG or JPEG files, or folders, ZIP archives or DICOMDIRs of them.")
]
Explain = Annotated[
    Path | None,
    typer.Option(
        help="Say where findings were seen; write contours to this folder, if there are any.", file_okay=False
    ),
]
How = Annotated[
    Method, typer.Option(help="How a place is found: cam is fast; occlusion is slow, and works with any network.")
]
Grid = Annotated[Precision, typer.Option(help="How fine the grid of the occlusion method is.")]
AsLines = Annotated[bool, typer.Option("--jsonl", help="Print each answer as a line of JSON as soon as it is there.")]
Sheet = Annotated[
    Path | None, typer.Option(help="Draw all pictures with their answers into this PNG file.", dir_okay=False)
]


def predict(
    files: Files, config: Config = None, as_json: AsJson = False, explain: Explain = None, method: How = Method.cam,
    precision: Grid = Precision.low, jsonl: AsLines = False, contact_sheet: Sheet = None,
) -> None:  # fmt: skip
    """Print what the model finds in image files. Needs no PACS and no database.

    Progress is shown on a terminal. The exit status is 1 if an image was not analysed or a folder or archive has none,
    and 2 if a file does not exist or the model cannot run.
    """
    from daemon.cli.images.predict import predict as run
    from daemon.cli.images.predict import show
    from daemon.decisions import CannotWork

    _refuse_faulty(files)
    settings, remarks = settings_of(config), list[str]()
    try:
        with progress("images") as tick:
            results = run(files, settings, explain, method, precision, remarks.append, contact_sheet,
                          print_line if jsonl else lambda answer: None, tick)  # fmt: skip
    except CannotWork as fault:
        say(str(fault), err=True)
        raise typer.Exit(2) from None
    if not jsonl:
        show(results, as_json, one=[result["file"] for result in results] == [str(files[0])])
    for sentence in [] if as_json or jsonl else remarks:
        say(sentence)
    raise typer.Exit(_status(files, results))


def _refuse_faulty(files: Sequence[Path]) -> None:
    """Say of each path why there is nothing to read at it; if there is one, exit with status 2."""
    from daemon.cli.images.predict import fault_of

    faults = [f"{file}: {fault}" for file in files if (fault := fault_of(file))]
    for sentence in faults:
        say(sentence, err=True)
    if faults:
        raise typer.Exit(2)


def _status(files: Sequence[Path], results: Sequence[dict[str, Any]]) -> int:
    """Say which folders and archives hold no image, and return the exit status."""
    from daemon.cli.images.predict import without_images

    empty = without_images(files, results)
    for place in empty:
        say(f"{place}: this {'folder' if place.is_dir() else 'archive'} holds no DICOM, PNG or JPEG file", err=True)
    return 0 if not empty and all(result["analysed"] for result in results) else 1
