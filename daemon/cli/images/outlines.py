"""What the command line does with a segmentation: its figures, and the files of `hilum predict --explain`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image

from daemon.cli.model import tried
from dicom_io.results.contour import edged_pixels
from inference.bundle import Bundle
from inference.evaluation.evaluate_outlines import evaluate_outlines, outlines_markdown
from inference.evaluation.outlines import read_outlined
from inference.prediction import Outlined
from inference.serving.segmenter import Segmenter

#: Of the table of `hilum predict` for a segmentation.
COLUMNS = ["file", "structure", "count", "area_pixels", "area_share", "share_of", "not_analysed_because"]


def evaluate_segmentation(data: Path, bundle: Bundle, out: Path | None, as_json: bool) -> None:
    """Print what a segmentation is worth on outlined pictures; write evaluation.json and .md to `out`, if given."""
    result = tried(lambda: evaluate_outlines(read_outlined(data), Segmenter(bundle)))
    table, content = outlines_markdown(result), json.dumps(result, indent=1)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "evaluation.json").write_text(content + "\n")
        (out / "evaluation.md").write_text(table + "\n")
    typer.echo(content if as_json else table)


def rows_of(results: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a row of the table of `hilum predict` for each structure, and for each file that was not analysed."""
    rows = []
    for result in results:
        file, reason = Path(result["file"]).name, result.get("reason", "")
        for row in result.get("structures") or [{}]:
            rows.append({"file": file, "not_analysed_because": reason, **{key: row.get(key) for key in COLUMNS[1:-1]}})
    return rows


def write_masks(
    directory: Path, name: str, pixels: np.ndarray, outlined: Sequence[Outlined], answer: dict[str, Any]
) -> dict[str, Any]:
    """Write a mask of each structure and the picture with their outlines; return the answer with the masks' paths.

    <name>-<structure>-mask.png is 255 inside and 0 outside; <name>-outlines.png shows all of them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    edged_pixels(pixels, [one.mask for one in outlined]).save(directory / f"{name}-outlines.png")
    rows = []
    for row, one in zip(answer["structures"], outlined, strict=True):
        path = directory / f"{name}-{one.structure.casefold().replace(' ', '-')}-mask.png"
        Image.fromarray(np.where(one.mask, np.uint8(255), np.uint8(0))).save(path)
        rows.append(row | {"mask": str(path)})
    return answer | {"structures": rows, "outlines": str(directory / f"{name}-outlines.png")}
