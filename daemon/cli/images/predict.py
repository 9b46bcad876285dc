"""`hilum predict`: selection, decoding and classification of files, without a PACS or a database."""

import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from config.settings import Settings
from daemon import translate, wiring
from daemon.cli import tables
from daemon.cli.images.outlines import COLUMNS, rows_of, write_masks
from daemon.cli.images.sheet import thumbnail, write_sheet
from daemon.cli.images.sources import ImageFile, Unreadable, sources, told_apart
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
from inference.prediction import ABOVE, Prediction, refused
from inference.serving.classifier import Classifier
from inference.serving.location import NOT_ABOVE, Located, locations, with_locations
from inference.serving.segmenter import Model

TILE = (300, 300)  # columns and rows of a picture on the contact sheet
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
    sheet: Path | None = None,
    each: Callable[[dict[str, Any]], None] = lambda answer: None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return the object of `hilum predict --json` for each file, in order.

    The files are those of `sources`. `each` is called with an object as soon as it is there, and `tick(done, total)`
    before each file. The pictures are drawn side by side into the PNG file `sheet`. With `explain`, each finding has
    its location, by `method` and `precision`, and each contour is drawn on the picture and written to that folder.
    `remark` is called with what a reader of the answers has to know of the model. Raises CannotWork if the model cannot
    be used, or the sheet not written.
    """
    classifier = wiring.open_classifier(settings)
    results, tiles, shown = [], list[tuple[str, Image.Image]](), list[str]()
    found, explained = sources(paths), _Explainer(classifier, explain or Path(), method, precision)
    for done, source in enumerate(found):
        tick(done, len(found))
        pixels, reason, header = _opened(source, settings, classifier.bundle.channels)
        if reason == NO_IMAGE and not (source.named or Path(source.name).suffix.lower() in IMAGES):
            continue
        view = projection(header) if header else ""  # only DICOM files can name one
        prediction = refused(reason) if pixels is None else classifier.predict([pixels], [view])[0]
        answer = prediction.to_json(source.name, classifier.model)
        if header and prediction.outlined:
            answer = translate.with_areas(answer, header, prediction)
        if explain and pixels is not None and prediction.analysed:
            answer = explained(source, pixels, header, prediction, answer)
        if sheet and pixels is not None:
            shown.append(source.name)
            tiles.append((_caption(answer), thumbnail(Image.fromarray(np.uint8(255 * pixels)), TILE)))
        results.append(answer)
        each(answer)
    if sheet and tiles:
        _write_tiles(tiles, told_apart(shown), sheet)
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
    """Return those of `paths` that are folders or archives in which none of the `results` was found."""
    files = [Path(result["file"]) for result in results]
    places = {place for file in files for place in (file, *file.parents)}
    return [path for path in paths if (path.is_dir() or path.suffix.lower() == ".zip") and path not in places]


def _opened(source: ImageFile, settings: Settings, channels: int) -> tuple[np.ndarray | None, str, Header | None]:
    try:
        with source.opened(settings.dicom.max_object_bytes) as file:
            return read(file, settings, channels)
    except Unreadable as fault:
        return None, str(fault), None


def _caption(answer: Mapping[str, Any]) -> str:
    """Return what a tile says of a picture: the findings above their threshold, or why it was not analysed."""
    if not answer["analysed"]:
        return str(answer["reason"])
    if "structures" in answer:
        return ", ".join(f"{s['structure']} {s.get('count', '')}".strip() for s in answer["structures"])
    above = [f"{f['finding']} {f['score']}" for f in answer["findings"] if f["call"] == ABOVE]
    return ", ".join(above) or "none above threshold"


def _write_tiles(tiles: Sequence[tuple[str, Image.Image]], names: Sequence[str], file: Path) -> None:
    across = max(3, round(len(tiles) ** 0.5))
    captioned = [(f"{name}: {said}", picture) for name, (said, picture) in zip(names, tiles, strict=True)]
    try:
        write_sheet(captioned, file, TILE, across, font_size=14)
    except OSError as error:
        raise CannotWork(f"{file} cannot be written: {error.strerror or error}") from error


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
    model = settings.model_in_use()
    verdict = select(header, translate.selection_rules(settings.selection(model), model))
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


@dataclass
class _Explainer:
    """Says where findings and structures were seen, and writes contours and masks to `directory`, under a name of its
    own for each picture."""

    classifier: Model
    directory: Path
    method: str
    precision: str
    taken: Counter[str] = field(default_factory=Counter)

    def __call__(
        self, source: ImageFile, pixels: np.ndarray, header: Header | None, prediction: Prediction,
        answer: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        """Return the answer, in which each finding has its location, or each structure its mask."""
        stem = Path(source.name).stem
        self.taken[stem] += 1
        name = stem if self.taken[stem] == 1 else f"{stem}-{self.taken[stem]}"
        if not isinstance(self.classifier, Classifier):
            return write_masks(self.directory, name, pixels, prediction.outlined, answer)
        try:
            found = locations(self.classifier, pixels, prediction, self.method, self.precision)
        except EngineError as error:
            raise CannotWork(str(error)) from error
        write_contours(self.directory, name, pixels, found)
        return with_locations(answer, translate.located_in_file(header, pixels.shape, found) if header else found)


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
            "file": name,
            "pathology": r.get("pathology_probability"),
            "most_likely": (r.get("most_likely") or {}).get("finding"),
            "findings": r.get("findings") or [],
            "not_analysed_because": r.get("reason", ""),
        }
        for r, name in zip(results, told_apart([r["file"] for r in results]), strict=True)
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
