"""`hilum phantom --masks`: drawn radiographs with exact masks, from which a network learns to outline."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daemon.cli.demonstration.phantom import LABELS, NARROWEST, ROWS, WIDEST
from dicom_io.phantom.thorax import BITS, Regions, draw_chest

STRUCTURES = ("Right lung", "Left lung", "Round opacity")
MOST_OPACITIES = 6  # of a drawing, beside the mass of every fifth


def write_outlined(out: Path, count: int, seed: int) -> Path:
    """Draw `count` radiographs with the seeds from `seed` on, write them to `out`, and return the manifest.

    The manifest, out/outlined.csv, names for each picture one mask of each structure; all are PNG files in
    out/outlined/. A pixel of a mask is 0 outside and the number of the region, from 1, inside. A picture that is there
    already is kept with its masks. Raises OSError.
    """
    folder = out / "outlined"
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(LABELS)
    for place in range(count):
        if not (folder / f"{seed + place}.png").is_file():
            finding, number = kinds[place % len(kinds)], seed + place
            rng = np.random.default_rng((number, 1))
            columns = round(ROWS * rng.uniform(NARROWEST, WIDEST))
            levels, regions = draw_chest(number, finding, int(rng.integers(MOST_OPACITIES + 1)), ROWS, columns)
            for structure, mask in zip(STRUCTURES, _masks(regions), strict=True):
                Image.fromarray(mask).save(folder / _mask_name(number, structure))
            part = folder / f"{number}.part"
            Image.fromarray((levels >> (BITS - 8)).astype(np.uint8)).save(part, "PNG")
            part.replace(part.with_suffix(".png"))  # last: a picture has its masks
    manifest = out / "outlined.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "patient_id", *STRUCTURES])
        for number in range(seed, seed + count):
            masks = [_mask_name(number, structure) for structure in STRUCTURES]
            writer.writerow([f"{number}.png", f"drawn{number}", *masks])
    return manifest


def _masks(regions: Regions) -> list[NDArray[np.uint8]]:
    """The masks in the order of STRUCTURES, uint8 [rows, columns], with the opacities numbered from 1."""
    opacities = np.zeros(regions.right_lung.shape, np.uint8)
    for number, mask in enumerate(regions.opacities, start=1):
        opacities[mask] = number
    return [regions.right_lung.astype(np.uint8), regions.left_lung.astype(np.uint8), opacities]


def _mask_name(number: int, structure: str) -> str:
    return f"{number}-{structure.casefold().replace(' ', '-')}.png"
