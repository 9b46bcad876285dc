"""Why a file gives no picture.

    NoPicture               carries `reason`, a sentence for the journal and the report
    ├── NotDicom            not a DICOM Part 10 file, or its header cannot be read
    ├── NoPixels            an object without Pixel Data
    ├── Truncated           Pixel Data ends early
    ├── TooLarge            more pixels than the limit, by the header or by the codestream
    ├── Unsupported         a kind of image that is none of ours (multi-frame, colour palette, 32 bits)
    ├── NoDecoder           no decoder for this transfer syntax is installed
    ├── Undecodable         a decoder gave up, or gave something else than the header promises
    └── Constant            nothing to see: one value everywhere

A refusal is an answer, not an accident: the image is reported as not analysed, with the reason. Reasons name what was
found and what was expected, and hold no patient data.
"""


class NoPicture(Exception):
    """An image that gives no picture to analyse; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotDicom(NoPicture):
    """Not a DICOM Part 10 file, or its header cannot be read."""


class NoPixels(NoPicture):
    """The object has no Pixel Data."""


class Truncated(NoPicture):
    """Pixel Data is shorter than the header promises, or the file ends inside it."""


class TooLarge(NoPicture):
    """More pixels than the limit: nothing was allocated."""


class Unsupported(NoPicture):
    """A kind of image that is not read here."""


class NoDecoder(NoPicture):
    """No decoder for the transfer syntax."""


class Undecodable(NoPicture):
    """The decoder failed, or its output contradicts the header."""


class Constant(NoPicture):
    """One value everywhere: a failed exposure or a failed decoder, never a chest."""
