"""Where findings were seen, for those who ask: the page, the result in the journal, and `hilum predict --explain`.

All ask `inference.serving.location` and differ only in the pixels that they count in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from daemon import translate
from dicom_io.composite.analysis import Location
from dicom_io.image.header import Header

if TYPE_CHECKING:  # the receiver and the couriers must not load torch
    from inference.prediction import Prediction
    from inference.serving.segmenter import Model


def location_on_page(
    header: Header, pixels: np.ndarray | None, prediction: Prediction | None, classifier: Model
) -> Location | None:
    """Return where the strongest finding was seen in a picture, or None if none is above its threshold."""
    from inference.prediction import ABOVE, strongest
    from inference.serving.classifier import Classifier
    from inference.serving.location import locations

    first = strongest(prediction.findings) if prediction else None
    if pixels is None or not prediction or not first or first.call != ABOVE or not isinstance(classifier, Classifier):
        return None
    found = locations(classifier, pixels, prediction)[first.finding]
    return translate.location(first.finding, found, header, pixels.shape)


def result_with_locations(
    name: str, header: Header, pixels: np.ndarray | None, prediction: Prediction | None, classifier: Model
) -> dict[str, Any] | None:
    """Return the object of `hilum predict --json --explain` for an image, None if the model did not see it.

    Its polygons are in pixels of the file. "acquisition" says how the image was taken.
    """
    from inference.serving.classifier import Classifier
    from inference.serving.location import locations, with_locations

    if not prediction:
        return None
    answer = prediction.to_json(name, classifier.model) | {"acquisition": translate.acquisition(header)}
    if pixels is None or not prediction.analysed:
        return answer
    if not isinstance(classifier, Classifier):
        return translate.with_areas(answer, header, prediction)
    found = locations(classifier, pixels, prediction)
    return with_locations(answer, translate.located_in_file(header, pixels.shape, found))
