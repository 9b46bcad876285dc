"""Processor time of each step of the line for one study, measured in this process, one thread, one after the other."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from config.settings import load
from daemon import pipeline, translate, wiring
from dicom_io.composite.analysis import Analysis
from dicom_io.composite.options import ReportOptions
from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.selection import select
from dicom_io.results.report import structured_report
from dicom_io.results.secondary_capture import secondary_captures

T = TypeVar("T")
REPEATS = 5


def step_milliseconds(files: list[Path]) -> dict[str, float]:
    """Milliseconds a study of: digest, header and selection, decoding, inference (together), the report, the page."""
    took: dict[str, float] = {}

    def timed(name: str, step: Callable[[], T], studies: int = 1) -> T:
        result = step()  # once before, so that nothing is loaded or compiled in what is measured
        began = time.process_time()
        for _ in range(REPEATS):
            step()
        took[name] = round((time.process_time() - began) * 1000 / REPEATS / studies, 2)
        return result

    with TemporaryDirectory() as directory:
        settings = load(None, {"HILUM__STORAGE__DIRECTORY": directory})
        classifier = wiring.open_classifier(settings)
    file, rules = files[0], translate.selection_rules(settings.select)
    timed("verify digest", lambda: _sha256(file))
    header = timed("header and selection", lambda: (read_header(file), select(read_header(file), rules))[0])
    pixels = timed("decode", lambda: decode(file, settings.dicom.max_pixels, pipeline.SIZE_HINT, header))
    predictions = timed("infer, one", lambda: classifier.predict([pixels]))
    timed(f"infer, {len(files)} together", lambda: classifier.predict([pixels] * len(files)), len(files))
    source, model = translate.source_image(header, predictions[0], ""), translate.model_identity(classifier)
    timed("report", lambda: structured_report([source], model, ReportOptions(), (), datetime.now(UTC)))
    seen = Analysis((replace(source, pixels=pixels),), model, datetime.now(UTC))
    timed("page", lambda: list(secondary_captures(seen)))
    return took


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
