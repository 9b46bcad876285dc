"""Training of a network that outlines structures, and writing the result as a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from rich.progress import track

from inference.arrays import Array
from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import base_metadata, write_bundle
from inference.errors import DataError
from inference.evaluation.evaluate_outlines import dice
from inference.evaluation.outlines import Numbers, OutlinedTable, read_outlined
from inference.networks import define_network
from inference.preprocess import build_from, preprocess, standard_preprocessing
from inference.probability import sigmoid
from inference.serving.structures import without_small
from inference.training.segmentation.outline_recipe import OutlineRecipe
from inference.training.train import LICENCE, half

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of which the best for the held out pictures is taken


def train_outlines(
    data: Path, out: Path, recipe: OutlineRecipe, *, fold: int | None = 0, folds: int = 10, device: str = "auto",
    threads: int = 0, name: str = "", version: str = "1", progress: bool = True,
) -> Bundle:  # fmt: skip
    """Train on the outlined pictures of `data` and write a segmentation bundle to `out`.

    The patients of fold `fold` of `folds` are held out; the thresholds are those that are best for them. With `fold`
    None all are used, and every threshold is 0.5. Raises DataError, and FileExistsError if `out` holds something other
    than a bundle.
    """
    if out.exists() and any(out.iterdir()) and not (out / "configs/metadata.json").is_file():
        raise FileExistsError(f"{out} exists and is not a bundle: name a new directory")
    if threads:
        torch.set_num_threads(threads)
    table = read_outlined(data)
    strays = sorted({*recipe.counted, *recipe.share_of} - set(table.structures))
    if strays:
        raise DataError(f"the recipe names the structures {strays}, but {data} has {list(table.structures)}")
    inputs, regions, targets = _samples(table, recipe)
    aside = table.folds(folds) == (-1 if fold is None else fold)
    if aside.all():
        raise DataError(f"fold {fold} of {folds} holds all {len(aside)} pictures: there is none left to train on")
    network = _fit(inputs[~aside], targets[~aside], recipe, device, progress)
    held = np.flatnonzero(aside)
    structures = _structures(table, recipe, _probabilities(network, inputs[held]), [regions[i] for i in held])
    _write(out, network, recipe, table, structures, name or out.name, version)
    return load_bundle(out)


def _samples(table: OutlinedTable, recipe: OutlineRecipe) -> tuple[Array, list[Numbers], Array]:
    """Return inputs [n, channels, S, S], the numbers of the regions at that size, and each pixel's share inside."""
    transform, inputs, regions, targets = build_from(standard_preprocessing(recipe.size, recipe.channels)), [], [], []
    for row in table.rows:
        picture, numbers = row.read(recipe.channels)
        inputs.append(preprocess(transform, picture))
        inside = torch.from_numpy((numbers > 0).astype(np.float32))[None]
        targets.append(F.interpolate(inside, (recipe.size, recipe.size), mode="area")[0].numpy())
        down, across = (((np.arange(recipe.size) + 0.5) * side / recipe.size).astype(int) for side in picture.shape[:2])
        regions.append(numbers[:, down[:, None], across])
    return np.stack(inputs), regions, np.stack(targets)


def _fit(inputs: Array, targets: Array, recipe: OutlineRecipe, device: str, progress: bool) -> torch.nn.Module:
    torch.manual_seed(recipe.seed)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    network = define_network({"network_def": recipe.network_def(targets.shape[1])}, "recipe").to(chosen)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = max(1, len(inputs) // recipe.batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches)
    overlap, rng = DiceLoss(sigmoid=True), np.random.default_rng(recipe.seed)
    network.train()
    for _epoch in track(range(recipe.epochs), "training", disable=not progress):
        order = rng.permutation(len(inputs))
        for rows in order[: batches * recipe.batch].reshape(batches, -1):
            x, y = _moved(torch.from_numpy(inputs[rows]), torch.from_numpy(targets[rows]), rng)
            logits = network(x.to(chosen))
            loss = F.binary_cross_entropy_with_logits(logits, y.to(chosen)) + overlap(logits, y.to(chosen))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return network.eval().cpu()


def _moved(x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures and targets alike turned, stretched and shifted a little, and the pictures' values bent.

    They are never mirrored, because right and left are different structures.
    """
    n = len(x)
    angle, stretch = rng.uniform(-0.12, 0.12, n), rng.uniform(0.85, 1.15, (n, 2))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(n, 2, 2)
    shift = rng.uniform(-0.1, 0.1, (n, 2, 1))
    theta = torch.from_numpy(np.concatenate([turn * stretch[:, None], shift], -1).astype(np.float32))
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x, y = (
        F.grid_sample(x, grid, padding_mode="border", align_corners=False),
        F.grid_sample(y, grid, align_corners=False),
    )
    slope, bend = (torch.from_numpy(rng.normal(0, s, (n, 1, 1, 1)).astype(np.float32)) for s in (0.15, 0.1))
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.1), tuple(x.shape)).astype(np.float32))
    return x * torch.exp(slope) + bend * (x**2 - 1) + noise, y


def _probabilities(network: torch.nn.Module, inputs: Array) -> Array:
    with torch.inference_mode():
        parts = (
            [network(torch.from_numpy(part)).numpy() for part in np.array_split(inputs, len(inputs))]
            if len(inputs)
            else []
        )
    return np.concatenate([np.asarray(sigmoid(part), np.float32) for part in parts]) if parts else inputs[:0]


def _structures(table: OutlinedTable, recipe: OutlineRecipe, found: Array, true: list[Numbers]) -> dict[str, Any]:
    """Return configs/structures.json with the threshold of each structure that is best for the held out pictures."""
    rows: dict[str, Any] = {}
    for place, label in enumerate(table.structures):
        least = recipe.counted.get(label, 0.0)
        maps, regions = [one[place] for one in found], [one[place] for one in true]
        best = min(THRESHOLDS, key=lambda t: _fault(maps, regions, t, least, label in recipe.counted)) if maps else 0.5
        counted = {"counted": True, "least_area": least} if label in recipe.counted else {}
        rows[label] = {"threshold": best} | counted
    return {"structures": rows, "share_of": list(recipe.share_of)}


def _fault(
    maps: list[Array], regions: list[Numbers], threshold: float, least: float, counted: bool
) -> tuple[float, float]:
    """Return how wrong a threshold is: the mean error of the count where regions are counted, then 1 less mean Dice."""
    off, overlap = [], []
    for one, numbers in zip(maps, regions, strict=True):
        mask, number = without_small(one >= np.float32(threshold), least)
        off.append(abs(number - len(np.unique(numbers[numbers > 0]))) if counted else 0)
        overlap.append(dice(mask, numbers > 0))
    return float(np.mean(off)), 1 - float(np.mean(overlap))


def _write(
    out: Path, network: torch.nn.Module, recipe: OutlineRecipe, table: OutlinedTable, structures: dict[str, Any],
    name: str, version: str,
) -> None:  # fmt: skip
    labels = table.structures
    metadata = base_metadata(name, version, f"Outlines: {', '.join(labels)}.", labels, recipe.size, True,
                             recipe.channels)  # fmt: skip
    metadata["task"] = "Segmentation of radiographs"
    answer = metadata["network_data_format"]["outputs"]["pred"]
    answer |= {"format": "segmentation", "spatial_shape": [recipe.size, recipe.size]}
    metadata["hilum"] |= {"task": "segmentation"} | ({"channels": 3} if recipe.channels == 3 else {})
    metadata["training"] = recipe.to_json() | {"pictures": len(table.rows)}
    inference = {
        "preprocessing": standard_preprocessing(recipe.size, recipe.channels),
        "network_def": recipe.network_def(len(labels)),
    }
    write_bundle(out, metadata, inference, half(network.state_dict()), structures=structures)
    (out / "LICENSE").write_text(LICENCE)
    card = out / "docs/README.md"
    if not card.is_file():
        card.write_text(f"# {name} {version}\n\nNo medical device. Outlines {', '.join(labels)}.\n")
