"""The training of one network: an epoch, the moving average of the weights, and checkpoints.

The random numbers of an epoch depend only on the recipe's seed and the epoch's number, so a run that was killed and
resumed gives the same weights as one that was not.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from inference.arrays import Array
from inference.networks import define_network
from inference.training.augment import RandomView, mixed
from inference.training.initial import begin_with
from inference.training.recipe import Recipe, positive_weights

Tick = Callable[[], None]  # called after each step


def chosen_device(device: str) -> str:
    """Return `device`, or what "auto" stands for: "cuda" if there is a GPU, else "cpu"."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


class Trainer:
    """A network in training. `device`: "cpu", "cuda" or "auto", which is CUDA if there is a GPU.

    Raises what `define_network` and `begin_with` raise.
    """

    def __init__(self, recipe: Recipe, outputs: int, device: str = "auto") -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = torch.device(chosen_device(device))
        config = {"network_def": recipe.network_def(outputs)}
        self.network = define_network(config, "recipe")
        if recipe.initial:
            begin_with(self.network, recipe.initial)
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: t.detach().clone() for name, t in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.learning_rate)
        self.view = RandomView()
        self.done, self.steps = 0, 0  # finished epochs and steps
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, torch.Tensor]] | None = None

    def _groups(self) -> list[dict[str, Any]]:
        parameters = list(self.network.parameters())
        return [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.recipe.weight_decay},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]  # fmt: skip

    def epoch(self, pictures: Array, targets: Array, weights: Array, tick: Tick = lambda: None) -> float:
        """Train on all pictures once and return the mean loss.

        The pictures are [n, channels, S, S], the targets [n, outputs] (nan: not labelled) and the weights [n]. `tick`
        is called after each step.
        """
        rng = np.random.RandomState([self.recipe.seed, self.done])
        self.view.set_random_state(state=rng)
        self.network.train()
        order, size = rng.permutation(len(pictures)), min(self.recipe.batch, len(pictures))
        batches = order[: len(order) // size * size].reshape(-1, size)
        total, importance = 0.0, positive_weights(targets).to(self.device)
        for rows in batches:
            total += self._step(pictures[rows], targets[rows], weights[rows], importance, rng, len(batches))
            tick()
        self.done += 1
        return total / len(batches)

    def _step(
        self, pictures: Array, targets: Array, weights: Array, importance: torch.Tensor, rng: Any, per_epoch: int
    ) -> float:
        rate = self._rate(per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, y, w = (torch.from_numpy(part).to(self.device) for part in (pictures, targets, weights))
        x, y, w = mixed(self.view(x, self.recipe.side(self.done)), y, w, rng, self.recipe.mixup)
        with self._fast():
            logits = self.network(x.contiguous(memory_format=torch.channels_last)).float()
        known = y.isfinite()  # a finding that is not labelled does not count in the loss
        y = torch.where(known, y, 0) * (1 - 2 * self.recipe.smoothing) + self.recipe.smoothing
        each = F.binary_cross_entropy_with_logits(logits, y, pos_weight=importance, reduction="none")
        loss = ((each * known).mean(1) * w).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self._follow()
        return float(loss.detach())

    def _rate(self, per_epoch: int) -> float:
        """Return the learning rate: it rises during the first epoch, and falls as half a cosine to nearly zero."""
        total = self.recipe.epochs * per_epoch
        warm, along = min(1.0, (self.steps + 1) / per_epoch), self.steps / total
        return float(self.recipe.learning_rate * warm * (0.5 * (1 + np.cos(np.pi * along)) + 0.003))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the moving average towards the weights, faster at first, so that it forgets the random start."""
        keep = min(self.recipe.averaging, (self.steps + 1) / (self.steps + 10))
        self.steps += 1
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    def _fast(self) -> Any:
        """Return a context that computes in bf16 on a GPU.

        It is off on a CPU, where narrow bf16 convolutions gave different numbers, even NaN, at each call.
        """
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    @torch.no_grad()
    def logits(self, pictures: Array) -> Array:
        """Return the averaged weights' logits, float32 [n, outputs], averaged over a picture and its mirror image."""
        own = {name: t.clone() for name, t in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        parts = [self._answer(pictures[i : i + 256]) for i in range(0, len(pictures), 256)]
        self.network.load_state_dict(own)
        return np.concatenate(parts)

    def _answer(self, pictures: Array) -> Array:
        batch = torch.from_numpy(pictures).to(self.device)
        batch = batch.contiguous(memory_format=torch.channels_last)
        with self._fast():
            logits = (self.network(batch) + self.network(batch.flip(3))).float() / 2
        return np.asarray(logits.cpu().numpy(), np.float32)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch needs.

        If the process is killed, the old or the new file is left, whole.
        """
        content = {
            "network": self.network.state_dict(), "average": self.average, "optimizer": self.optimizer.state_dict(),
            "done": self.done, "steps": self.steps, "history": self.history, "best": self.best,
            "recipe": self.recipe.to_json(),
        }  # fmt: skip
        part = path.with_suffix(".part")
        torch.save(content, part)
        os.replace(part, path)  # noqa: PTH105

    def resume(self, path: Path) -> bool:
        """Continue from a checkpoint, and return True.

        Returns False if there is no checkpoint, or if it belongs to another recipe, about which it warns.
        """
        if not path.is_file():
            return False
        content = torch.load(path, map_location=self.device, weights_only=True)
        if content["recipe"] != self.recipe.to_json():
            warnings.warn(f"{path} belongs to another recipe: training starts from the beginning", stacklevel=2)
            return False
        self.network.load_state_dict(content["network"])
        self.average = content["average"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.done, self.steps = content["done"], content["steps"]
        self.history, self.best = content["history"], content["best"]
        return True

    def keep_best(self, score: float) -> bool:
        """Keep this epoch's weights if its validation score is the best one. Return whether the training should end.

        It should if `patience` epochs have brought no better score. Only epochs at the final size count.
        """
        first = self.recipe.epochs - self.recipe.stages[-1][1]
        if self.done <= first:
            return False
        if self.best is None or not np.isfinite(self.best[0]) or score > self.best[0]:
            self.best = (score, {name: t.clone() for name, t in self.average.items()})
        scores = [entry["validation"] for entry in self.history[first:]]
        behind = len(scores) - 1 - int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0
        return bool(self.recipe.patience and behind >= self.recipe.patience)
