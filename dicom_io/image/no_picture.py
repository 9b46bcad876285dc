"""The reasons why a file cannot be decoded to a picture.

    NoPicture               carries `reason`, a sentence for the journal and the report
    ├── NotDicom            not a DICOM Part 10 file, or its header cannot be read
    ├── NoPixels            an object without Pixel Data
    ├── Truncated           Pixel Data ends early
    ├── TooLarge            more pixels than the limit, by the header or by the codestream
    ├── Unsupported         a kind of image that is not read (multi-frame, colour palette, 32 bits)
    ├── NoDecoder           no decoder for this transfer syntax is installed
    ├── Undecodable         a decoder failed, or its output differs from what the header says
    └── Constant            nothing can be seen: one value or one shade everywhere

These are results, not faults of the program: the image is reported as not analysed, with the reason. A reason names
what was found and what was expected, and holds no patient data.
"""

from typing import Literal


class NoPicture(Exception):
    """The file cannot be decoded to a picture; `reason` says why, and `cause` of what kind the reason is."""

    cause: Literal["incomplete", "constant", "unreadable"] = "unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotDicom(NoPicture):
    """The file is not a DICOM Part 10 file, or its header cannot be read."""


class NoPixels(NoPicture):
    """The object has no Pixel Data."""


class Truncated(NoPicture):
    """Pixel Data is shorter than the header promises, or the file ends inside it."""

    cause = "incomplete"


class TooLarge(NoPicture):
    """The image has more pixels than the limit, or inflates beyond one; no memory was allocated for it."""


class Unsupported(NoPicture):
    """The image is of a kind that is not read."""


class NoDecoder(NoPicture):
    """No decoder for the transfer syntax is installed."""


class Undecodable(NoPicture):
    """The decoder failed, or its output differs from what the header says."""


class Constant(NoPicture):
    """Every pixel has the same value or shade: the exposure or the decoder failed, and this is never a chest."""

    cause = "constant"
