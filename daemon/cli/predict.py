"""`hilum predict`: selection, decoding and classification of files, without a PACS or a database."""

import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from config.settings import Settings
from daemon import translate, wiring
from daemon.cli import tables
from daemon.cli.outlines import COLUMNS, rows_of, write_masks
from daemon.decisions import CannotWork
from daemon.pipeline import SIZE_HINT
from dicom_io.image.decode import decode
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture, NotDicom
from dicom_io.image.selection import projection, select
from dicom_io.results.contour import outlined_pixels
from dicom_io.results.wording import NOT_EVALUATED
from inference.errors import DataError, EngineError
from inference.pictures import display_values
from inference.prediction import Prediction, refused
from inference.serving.classifier import Classifier
from inference.serving.location import NOT_ABOVE, Located, locations, with_locations

NO_IMAGE = "neither DICOM, PNG nor JPEG"
#: In a folder, a file that cannot be read as an image is reported only if it has one of these suffixes.
IMAGES = {".dcm", ".png", ".jpg", ".jpeg"}


def predict(
    paths: Sequence[Path],
    settings: Settings,
    explain: Path | None = None,
    method: str = "cam",
    precision: str = "low",
    remark: Callable[[str], None] = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Return the object of `hilum predict --json` for each file, in order.

    In a folder, every image at any depth is used. With `explain`, each finding has its location, by `method` and
    `precision`, and each contour is drawn on the picture and written to that folder. `remark` is called with what a
    reader of the answers has to know of the model. Raises CannotWork if the model cannot be used.
    """
    classifier = wiring.open_classifier(settings)
    results = []
    taken = Counter[str]()
    for file, named in _files(paths):
        pixels, reason, header = read(file, settings, classifier.bundle.channels)
        if reason == NO_IMAGE and not (named or file.suffix.lower() in IMAGES):
            continue
        view = projection(header) if header else ""  # only DICOM files can name one
        prediction = refused(reason) if pixels is None else classifier.predict([pixels], [view])[0]
        answer = prediction.to_json(str(file), classifier.model)
        if header and prediction.outlined:
            answer = translate.with_areas(answer, header, prediction)
        if explain and pixels is not None and prediction.analysed:
            taken[file.stem] += 1
            name = file.stem if taken[file.stem] == 1 else f"{file.stem}-{taken[file.stem]}"
            if not isinstance(classifier, Classifier):
                results.append(write_masks(explain, name, pixels, prediction.outlined, answer))
                continue
            found = _located(classifier, pixels, prediction, method, precision)
            write_contours(explain, name, pixels, found)
            answer = with_locations(answer, translate.located_in_file(header, pixels.shape, found) if header else found)
        results.append(answer)
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


def read(file: Path, settings: Settings, channels: int = 1) -> tuple[np.ndarray | None, str, Header | None]:
    """Return the picture, float32 [rows, columns] in 0..1, "", and the header of a DICOM file.

    With three `channels`, a PNG or JPEG file is read in colour, [rows, columns, 3].

    Where there is no picture: None, why the file is not analysed, and None.
    """
    try:
        return _read(file, settings, channels)
    except OSError as error:
        return None, f"the file cannot be read: {error.strerror or type(error).__name__}", None


def _read(file: Path, settings: Settings, channels: int) -> tuple[np.ndarray | None, str, Header | None]:
    try:
        header = read_header(file)
    except NotDicom:
        return *read_picture(file, channels), None
    except NoPicture as refusal:
        return None, str(refusal), None
    verdict = select(header, translate.selection_rules(settings.select))
    if not verdict.eligible:
        return None, verdict.reason, None
    try:
        return decode(file, settings.dicom.max_pixels, SIZE_HINT, header), "", header
    except NoPicture as refusal:
        return None, str(refusal), None


def read_picture(file: Path, channels: int = 1) -> tuple[np.ndarray | None, str]:
    """Return a PNG or JPEG file as training reads it, and ""; or None and why it is not analysed."""
    try:
        return display_values(file.read_bytes(), file.name, channels), ""
    except DataError as error:
        strange = isinstance(error.__cause__, UnidentifiedImageError)
        return None, NO_IMAGE if strange else f"the picture cannot be read: {error.__cause__}"


def _located(
    classifier: Classifier, pixels: np.ndarray, prediction: Prediction, method: str, precision: str
) -> dict[str, Located]:
    try:
        return locations(classifier, pixels, prediction, method, precision)
    except EngineError as error:
        raise CannotWork(str(error)) from error


def write_contours(directory: Path, name: str, pixels: np.ndarray, found: Mapping[str, Located]) -> None:
    """Write <name>-<finding>.png with the contour of each finding that has one; the folder only if one has."""
    for finding, located in found.items():
        if located.polygons:
            directory.mkdir(parents=True, exist_ok=True)
            outlined_pixels(pixels, located.polygons).save(directory / f"{name}-{finding}.png")


def show(results: Sequence[Any], as_json: bool, one: bool = False) -> None:
    """Print the results as a table or as a JSON array. With `one`, for a single file, print its JSON object only."""
    if as_json:
        tables.print_json(results[0] if one else results)
        return
    if any("structures" in result for result in results):
        tables.show(rows_of(results), COLUMNS)
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
    for sentence in _not_located(results):
        tables.say(sentence)


def _not_located(results: Sequence[Any]) -> Iterator[str]:
    """Yield a sentence for each finding that is above its threshold and was asked for, but has no location."""
    for result in results:
        for row in result.get("findings") or []:
            if row.get("location_reason", NOT_ABOVE) != NOT_ABOVE:
                yield f"{Path(result['file']).name}, {row['finding']}: no location given: {row['location_reason']}"
