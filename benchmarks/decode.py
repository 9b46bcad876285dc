"""Milliseconds to decode a 2500 x 2048 radiograph of 12 bits, for each transfer syntax that is read.

    OMP_NUM_THREADS=1 python benchmarks/decode.py [--repeat 7] [--size-hint 224] [--json FILE]

The image is a drawn thorax with its noise, compressed here. "pydicom" is pixel_array and its own LUT functions, with
whatever decoders are installed. Each figure is the smallest of the repeats: processor time, one thread.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dicom_io.image.compression.codecs import readable_transfer_syntaxes
from dicom_io.image.decode import decode
from dicom_io.phantom.studies import draw_thorax, part10

ROWS, COLUMNS = 2500, 2048


def make_file(directory: Path, syntax: str) -> Path:
    """A DX object of the drawn thorax in this transfer syntax; ValueError where no encoder is at hand."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "2.25.1"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    path = directory / f"{syntax}.dcm"
    path.write_bytes(part10(ds, draw_thorax(1, "effusion", ROWS, COLUMNS), syntax))
    return path


def milliseconds(work: Callable[[], object], repeat: int) -> float:
    """The smallest processor time of `repeat` runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def by_pydicom(path: Path) -> object:
    ds = pydicom.dcmread(path)
    return apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--size-hint", type=int, default=224)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    print(f"{'transfer syntax':44} {'bytes':>10} {'full ms':>8} {'hint ms':>8} {'pydicom ms':>10}")
    with tempfile.TemporaryDirectory() as directory:
        for syntax in readable_transfer_syntaxes():
            try:
                path = make_file(Path(directory), syntax)
            except ValueError:
                continue
            row = {
                "transfer_syntax": uid.UID(syntax).keyword,
                "bytes": path.stat().st_size,
                "full_ms": milliseconds(lambda p=path: decode(p), options.repeat),
                "size_hint_ms": milliseconds(lambda p=path: decode(p, size_hint=options.size_hint), options.repeat),
            }
            try:
                row["pydicom_ms"] = milliseconds(lambda p=path: by_pydicom(p), min(options.repeat, 2))
            except (RuntimeError, NotImplementedError, AttributeError):
                row["pydicom_ms"] = None  # none of its decoders reads it
            rows.append(row)
            alone = "-" if row["pydicom_ms"] is None else f"{row['pydicom_ms']:.0f}"
            times = f"{row['full_ms']:>8.1f} {row['size_hint_ms']:>8.1f} {alone:>10}"
            print(f"{row['transfer_syntax']:44} {row['bytes']:>10} {times}")
    if options.json:
        options.json.write_text(json.dumps({"rows": ROWS, "columns": COLUMNS, "decode": rows}, indent=1))


if __name__ == "__main__":
    main()
