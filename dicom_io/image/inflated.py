"""The data set of a deflated file as a stream: kilobytes can inflate to gigabytes, so nothing is held in memory."""

import zlib
from io import SEEK_CUR, SEEK_SET, BufferedReader, RawIOBase, UnsupportedOperation
from typing import TYPE_CHECKING, BinaryIO

from dicom_io.image.no_picture import NotDicom, TooLarge

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1 << 16


def open_inflated(file: BinaryIO, limit: int | None = None) -> BufferedReader:
    """Return a stream of the data set that is deflated from the file's present position on (PS3.5 A.5).

    Closing it closes the file. Reading raises TooLarge beyond `limit` bytes, and NotDicom where the data is damaged.
    """
    return BufferedReader(_Inflated(file, limit), _BLOCK)


class _Inflated(RawIOBase):
    """Inflates as it is read; it moves back by beginning again."""

    def __init__(self, file: BinaryIO, limit: int | None):
        self._file, self._start, self._limit = file, file.tell(), limit
        self._begin()

    def _begin(self) -> None:
        self._file.seek(self._start)
        self._inflater, self._at = zlib.decompressobj(-zlib.MAX_WBITS), 0  # without a zlib header

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._inflate(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence not in (SEEK_SET, SEEK_CUR):
            raise UnsupportedOperation("the length of a deflated data set is unknown")
        target = offset + (self._at if whence == SEEK_CUR else 0)
        if target < self._at:
            self._begin()
        while self._at < target and self._inflate(min(target - self._at, _BLOCK)):
            pass
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()

    def _inflate(self, count: int) -> bytes:
        """Return up to `count` bytes, b"" at the end."""
        data = b""
        while count and not data and not self._inflater.eof:
            deflated = self._inflater.unconsumed_tail or self._file.read(_BLOCK)
            try:
                data = self._inflater.decompress(deflated, count)
            except zlib.error:
                raise NotDicom("the deflated data set is damaged") from None
            if not deflated:
                break
        self._at += len(data)
        if self._limit is not None and self._at > self._limit:
            raise TooLarge(f"more than {self._limit >> 20} MiB before Pixel Data, once inflated")
        return data
