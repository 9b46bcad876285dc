"""Other bytes came under a known SOP Instance UID: are they the same image, a corrected one, or another?"""

import os
import subprocess
import sys
from pathlib import Path

import dicom_io
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.same_pixels import compare_without_decoder
from dicom_io.image.subject import subject_digest
from storage.errors import SpoolDamaged
from storage.records import Compared, Held, Likeness
from storage.spool import Spool

MAX_PIXELS = 120_000_000
DECODING_SECONDS = 60.0


def compare(header: Header, held: Held, spool: Spool) -> Compared:
    """Say how the object with this header compares with the one in use. Where that one's file is gone, they differ."""
    try:
        in_use = read_header(spool.verified(held.spool_name, held.sha256)) if held.spool_name else None
    except (SpoolDamaged, NoPicture):
        in_use = None
    if in_use is None or not _same_pixels(header, in_use):
        return Compared(held.sha256, Likeness.OTHER)
    series = header.series_instance_uid == in_use.series_instance_uid
    same = series and subject_digest(header) == subject_digest(in_use)
    return Compared(held.sha256, Likeness.SAME if same else Likeness.CORRECTED)


def _same_pixels(header: Header, in_use: Header) -> bool:
    known = compare_without_decoder(header, in_use, MAX_PIXELS)
    return _decoded_alike(header.path, in_use.path) if known is None else known


def _decoded_alike(one: Path, other: Path) -> bool:
    """Decode both files in a process of its own: a decoder that crashes or hangs does not take the receiver with it."""
    command = [sys.executable, "-m", "dicom_io.image.same_pixels", str(one), str(other), str(MAX_PIXELS)]
    packages = str(Path(dicom_io.__path__[0]).parent)
    environ = {**os.environ, "PYTHONPATH": packages}
    try:
        return (
            subprocess.run(command, env=environ, timeout=DECODING_SECONDS, capture_output=True, check=False).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False
