"""What a model's files must not be: links, devices, or files whose reader looks elsewhere or takes all memory."""

import os
import stat
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from inference.files.onnx_wire import names_other_files

HEADER_LIMIT = 8 << 20  # bytes of the table at the start of a safetensors file; a thousand tensors need 100 kB
FILE_LIMIT = 10_000  # files and folders of a bundle, which has some twenty
_BLOCK = 1 << 20


class UnsafeFile(Exception):
    """The text names the file and what is wrong with it."""


def plain_files(directory: Path) -> list[Path]:
    """Return the files below `directory`, in the order of their names. Raises UnsafeFile unless all are plain files.

    Reading a link leads out of the folder, and reading a pipe or a device may never end.
    """
    files = []
    found = list(islice(directory.rglob("*"), FILE_LIMIT + 1))
    if len(found) > FILE_LIMIT:
        raise UnsafeFile(f"{directory} holds more than {FILE_LIMIT} files")
    for path in sorted(found, key=lambda p: p.relative_to(directory).as_posix()):
        if path.is_symlink():
            raise UnsafeFile(f"{path} is a link, but a bundle may hold plain files only")
        if not path.is_dir():
            ensure_plain(path)
            files.append(path)
    return files


def ensure_plain(path: Path) -> None:
    """Raise UnsafeFile for a pipe, a socket or a device."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnsafeFile(f"{path} is no plain file: it is a pipe, a socket, a device or a folder")


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a plain file. Raises UnsafeFile if it is none when it is opened; nothing here waits."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnsafeFile(f"{path} is no plain file")
        while block := file.read(_BLOCK):
            yield block


def is_private(path: Path) -> bool:
    """Tell whether a file or folder is there, is no link, and can be written by this user and root alone."""
    try:
        found = path.lstat()
    except OSError:
        return False
    ours = found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return ours and not stat.S_ISLNK(found.st_mode)


def ensure_safe(path: Path) -> None:
    """Raise UnsafeFile if reading this file of weights would take much more memory than its size, or another file."""
    match path.suffix.lower():
        case ".safetensors":
            _ensure_small_header(path)
        case ".onnx":
            if names_other_files(path):
                raise UnsafeFile(f"{path} keeps tensors in other files, which its digest does not cover: save it as "
                                 "one file (onnx.save with save_as_external_data=False)")  # fmt: skip
        case ".pt" | ".pth" | ".bin" | ".ckpt":
            _ensure_stored(path)


def _ensure_small_header(path: Path) -> None:
    """The file begins with the length of its table of tensors, eight bytes in little endian."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(HEADER_LIMIT, path.stat().st_size):
        raise UnsafeFile(f"{path} begins with a table of {length} bytes, the limit is {HEADER_LIMIT}: it is damaged")


def _ensure_stored(path: Path) -> None:
    """torch writes a zip file without compression; a compressed one can grow a thousand times."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise UnsafeFile(f"{path} is a damaged zip file: {error}") from error
    total = sum(max(member.file_size, member.compress_size) for member in members)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or total > path.stat().st_size:
        raise UnsafeFile(f"{path} is compressed, or its parts overlap; torch.save writes neither")
