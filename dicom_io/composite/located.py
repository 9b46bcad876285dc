"""The images on which something is above its threshold, and where it was seen."""

from collections.abc import Iterator

from dicom_io.composite.analysis import Analysis, Location, SourceImage


def with_locations(analysis: Analysis) -> Iterator[tuple[SourceImage, Location | None]]:
    """Yield each image on which something is above its threshold, with where the strongest finding was seen there."""
    for image in analysis.images:
        if is_above(image):
            yield image, image.location()


def is_above(image: SourceImage) -> bool:
    """Tell whether a finding of an image is above its threshold, or whatever it is that the model sees."""
    whole = image.pathology is not None and image.pathology.call == "above"
    return whole or any(result.call == "above" for result in image.findings)
