"""`hilum predict`: selection, decoding and classification of files, without a PACS or a database."""

import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from config.settings import Settings
from daemon import translate, wiring
from daemon.cli import tables
from daemon.decisions import CannotWork
from daemon.pipeline import SIZE_HINT
from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.no_picture import NoPicture, NotDicom
from dicom_io.image.selection import projection, select
from dicom_io.results.wording import NOT_EVALUATED
from inference.errors import DataError, EngineError
from inference.pictures import display_values
from inference.prediction import ABOVE, Prediction, refused, strongest
from inference.serving.classifier import Classifier
from inference.serving.explain import heatmaps

NO_IMAGE = "neither DICOM, PNG nor JPEG"
#: In a folder, a file that cannot be read as an image is reported only if it has one of these suffixes.
IMAGES = {".dcm", ".png", ".jpg", ".jpeg"}


def predict(
    paths: Sequence[Path], settings: Settings, explain: Path | None = None, method: str = "cam",
    precision: str = "medium", remark: Callable[[str], None] = lambda sentence: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the object of `hilum predict --json` for each file, in order.

    In a folder, every image at any depth is used. With `explain`, heatmaps by `method` and `precision` are drawn on the
    pictures and written to that folder. `remark` is called with what a reader of the answers has to know of the model.
    Raises CannotWork if the model cannot be used.
    """
    classifier = wiring.open_classifier(settings)
    results = []
    taken = Counter[str]()
    for file, named in _files(paths):
        pixels, view, reason = read(file, settings)
        if reason == NO_IMAGE and not (named or file.suffix.lower() in IMAGES):
            continue
        prediction = refused(reason) if pixels is None else classifier.predict([pixels], [view])[0]
        if explain and pixels is not None and prediction.analysed:
            taken[file.stem] += 1
            name = file.stem if taken[file.stem] == 1 else f"{file.stem}-{taken[file.stem]}"
            write_overlays(explain, name, pixels, prediction, _maps(classifier, pixels, method, precision))
        results.append(prediction.to_json(str(file), classifier.model))
    if not classifier.bundle.evaluated and any(result["analysed"] for result in results):
        remark(NOT_EVALUATED)
    return results


def fault_of(path: Path) -> str:
    """Return why there is nothing to read at `path`, or "" if it is a file or a folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "there is no such file or folder"
    except (OSError, ValueError) as error:
        return f"cannot be opened: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is neither a file nor a folder"


def without_images(paths: Sequence[Path], results: Sequence[dict[str, Any]]) -> list[Path]:
    """Return those of `paths` that are folders in which none of the `results` was found."""
    folders = {folder for result in results for folder in Path(result["file"]).parents}
    return [path for path in paths if path.is_dir() and path not in folders]


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield each file, and whether it was named itself rather than found in a folder."""
    for path in paths:
        if path.is_dir():
            yield from ((file, False) for file in sorted(path.rglob("*")) if file.is_file())
        else:
            yield path, True


def read(file: Path, settings: Settings) -> tuple[np.ndarray | None, str, str]:
    """Return the picture, float32 [rows, columns] in 0..1, its view ("" if not known), and "".

    Return None, "", and the reason if it is not analysed. Only DICOM files can name a view.
    """
    try:
        return _read(file, settings)
    except OSError as error:
        return None, "", f"the file cannot be read: {error.strerror or type(error).__name__}"


def _read(file: Path, settings: Settings) -> tuple[np.ndarray | None, str, str]:
    try:
        header = read_header(file)
    except NotDicom:
        pixels, reason = read_picture(file)
        return pixels, "", reason
    except NoPicture as refusal:
        return None, "", str(refusal)
    verdict = select(header, translate.selection_rules(settings.select))
    if not verdict.eligible:
        return None, "", verdict.reason
    try:
        pixels = decode(file, settings.dicom.max_pixels, SIZE_HINT, header)
        return pixels, projection(header), ""
    except NoPicture as refusal:
        return None, "", str(refusal)


def read_picture(file: Path) -> tuple[np.ndarray | None, str]:
    """Return a PNG or JPEG file as training reads it, and ""; or None and why it is not analysed."""
    try:
        return display_values(file.read_bytes(), file.name), ""
    except DataError as error:
        strange = isinstance(error.__cause__, UnidentifiedImageError)
        return None, NO_IMAGE if strange else f"the picture cannot be read: {error.__cause__}"


def _maps(classifier: Classifier, pixels: np.ndarray, method: str, precision: str) -> dict[str, np.ndarray]:
    try:
        return heatmaps(classifier, pixels, method, precision)
    except EngineError as error:
        raise CannotWork(str(error)) from error


def write_overlays(
    directory: Path, name: str, pixels: np.ndarray, prediction: Prediction, maps: dict[str, np.ndarray]
) -> None:
    """Write <name>-<finding>.png for each finding above its threshold; for the strongest one if none is."""
    from inference.serving.explain import overlay

    directory.mkdir(parents=True, exist_ok=True)
    first = strongest(prediction.findings)
    shown = [f.finding for f in prediction.findings if f.call == ABOVE]
    for finding in shown or ([first.finding] if first else []):
        Image.fromarray(overlay(pixels, maps[finding])).save(directory / f"{name}-{finding}.png")


def show(results: Sequence[Any], as_json: bool, one: bool = False) -> None:
    """Print the results as a table or as a JSON array. With `one`, for a single file, print its JSON object only."""
    if as_json:
        tables.print_json(results[0] if one else results)
        return
    rows = [
        {
            "file": Path(r["file"]).name,
            "pathology": r.get("pathology_probability"),
            "most_likely": (r.get("most_likely") or {}).get("finding"),
            "findings": r.get("findings") or [],
            "not_analysed_because": r.get("reason", ""),
        }
        for r in results
    ]
    if rows:
        tables.show(rows, ["file", "pathology", "most_likely", "findings", "not_analysed_because"])
