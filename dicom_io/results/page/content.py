"""What one page is about, and how an analysis becomes pages."""

from dataclasses import dataclass
from datetime import datetime

from dicom_io.composite.analysis import (
    Analysis,
    FindingResult,
    Location,
    ModelIdentity,
    SourceImage,
    strength,
)
from dicom_io.results.language import Language


@dataclass(frozen=True)
class Page:
    """One page: the image that it is about, among all images that the result names.

    `place` is that image's place in `images`; None where no image was analysed and none of several can be shown.
    """

    images: tuple[SourceImage, ...]
    place: int | None
    model: ModelIdentity
    started: datetime
    language: Language
    replaces: str = ""
    """A sentence that says which result this one replaces; "": none."""

    @property
    def image(self) -> SourceImage | None:
        """The image that the page is about."""
        return None if self.place is None else self.images[self.place]

    @property
    def analysed(self) -> bool:
        """Whether the page gives a result."""
        return self.image is not None and not self.image.reason

    @property
    def findings(self) -> list[FindingResult]:
        """The findings of this image, the strongest first."""
        return sorted(self.image.findings, key=strength) if self.image else []

    @property
    def above(self) -> list[FindingResult]:
        """Those that are above their thresholds."""
        return [result for result in self.findings if result.call == "above"]

    def location(self) -> Location | None:
        """Return where the strongest finding was seen; None where none is above its threshold."""
        if not self.above or self.image is None:
            return None
        found = self.image.location() if self.image.pixels is not None else None
        return found or Location(self.above[0].finding)


def pages(analysis: Analysis, language: Language, replaces: str = "") -> list[Page]:
    """Return a page for each image that was analysed, or the one page that says that none was.

    That one shows an image that could be decoded, if there is one.
    """
    images = analysis.images
    places: list[int | None] = [place for place, image in enumerate(images) if not image.reason]
    if not places:
        shown = next((place for place, image in enumerate(images) if image.pixels is not None), None)
        places = [0 if len(images) == 1 else shown]
    return [Page(images, place, analysis.model, analysis.started, language, replaces) for place in places]
