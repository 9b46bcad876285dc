"""`hilum predict`: the middle of the line on files, without PACS and database."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from config.settings import Settings
from daemon import tables, translate, wiring
from daemon.pipeline import SIZE_HINT
from dicom_io.decode import decode
from dicom_io.header import read_header
from dicom_io.refusals import NotDicom, Refused
from dicom_io.select import select
from inference.engine import Classifier
from inference.prediction import Prediction, refused


def predict(files: Sequence[Path], settings: Settings, explain: Path | None, method: str, precision: str) -> list[Any]:
    """The object of `hilum predict --json` for each file, in order; with `explain`, overlays are written there."""
    classifier = wiring.open_classifier(settings)
    results = []
    for file in files:
        pixels, reason = read(file, settings)
        prediction = refused(reason) if pixels is None else classifier.predict([pixels])[0]
        if explain and pixels is not None and prediction.analysed:
            write_overlays(explain, file, pixels, prediction, classifier, method, precision)
        results.append(prediction.to_json(str(file), classifier.model))
    return results


def read(file: Path, settings: Settings) -> tuple[np.ndarray | None, str]:
    """The picture as float32 [rows, columns] in 0..1, or None and the reason."""
    try:
        header = read_header(file)
    except NotDicom:
        return read_picture(file)
    verdict = select(header, translate.selection_rules(settings.select))
    if not verdict.eligible:
        return None, verdict.reason
    try:
        return decode(file, settings.dicom.max_pixels, SIZE_HINT, header), ""
    except Refused as refusal:
        return None, str(refusal)


def read_picture(file: Path) -> tuple[np.ndarray | None, str]:
    """A PNG or JPEG file as grey values."""
    try:
        with Image.open(file) as picture:
            deep = picture.mode.startswith("I")
            grey = np.asarray(picture if deep else picture.convert("L"), dtype=np.float32)
    except (UnidentifiedImageError, OSError):
        return None, "neither DICOM, PNG nor JPEG"
    return grey / np.float32(65535 if deep else 255), ""


def write_overlays(
    directory: Path, file: Path, pixels: np.ndarray, prediction: Prediction, classifier: Classifier, method: str,
    precision: str,
) -> None:
    """A PNG for each finding that is present (the most likely one where none is)."""
    from inference.explain import occlusion, overlay

    directory.mkdir(parents=True, exist_ok=True)
    maps = classifier.heatmaps(pixels) if method == "cam" else occlusion(classifier, pixels, precision)
    shown = [f.finding for f in prediction.findings if f.call == "present"]
    for finding in shown or ([prediction.most_likely.finding] if prediction.most_likely else []):
        Image.fromarray(overlay(pixels, maps[finding])).save(directory / f"{file.stem}-{finding}.png")


def show(results: Sequence[Any], as_json: bool) -> None:
    """Print the results, as a table or as JSON."""
    if as_json:
        print(json.dumps(results if len(results) != 1 else results[0], indent=1))
        return
    rows = [
        {
            "file": Path(r["file"]).name,
            "pathology": r.get("pathology_probability"),
            "most_likely": (r.get("most_likely") or {}).get("finding"),
            "probability": (r.get("most_likely") or {}).get("probability"),
            "findings": r.get("findings") or [],
            "not_analysed_because": r.get("reason", ""),
        }
        for r in results
    ]
    tables.show(rows, list(rows[0]) if rows else [])
