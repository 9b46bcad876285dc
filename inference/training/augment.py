"""Random views of training pictures, which differ as two radiographs of the same chest may differ.

A whole batch is changed at once, which takes a CPU a fraction of the time that it would take picture by picture.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from monai.transforms import RandomizableTransform

Tensor = torch.Tensor


def standardised(batch: Tensor) -> Tensor:
    """Return a batch [n, channels, S, S], each picture brought to mean 0 and standard deviation 1.

    This is what MONAI's NormalizeIntensity does.
    """
    mean = batch.mean((1, 2, 3), keepdim=True)
    spread = batch.std((1, 2, 3), keepdim=True, correction=0)
    return (batch - mean) / spread.clamp_min(1e-6)


def resized(batch: Tensor, side: int) -> Tensor:
    """Return a batch resized by area to `side` pixels a side and standardised; the batch itself if it has that size."""
    return batch if batch.shape[-1] == side else standardised(F.interpolate(batch, size=(side, side), mode="area"))


class RandomView(RandomizableTransform):  # type: ignore[misc]
    """Turns preprocessed pictures [n, channels, S, S] into other views of them, [n, channels, side, side].

    A picture is shrunk and enlarged again (as by a detector or a sender with fewer pixels, or another interpolation),
    turned, moved, scaled, sheared, mirrored, given another gamma and noise, and standardised as in serving.

    Bounds: turned by `degrees`, moved by `shift` of the side, scaled and given a gamma by exp(+-`scale`) and
    exp(+-`gamma`), noise of a standard deviation up to `noise`. `mirror` and `blur` are probabilities: of mirroring a
    picture, and of shrinking a batch.
    """

    def __init__(self, degrees: float = 10.0, shift: float = 0.06, scale: float = 0.15, gamma: float = 0.35,
                 noise: float = 0.12, mirror: float = 0.5, blur: float = 0.5) -> None:  # fmt: skip
        super().__init__(prob=1.0)
        self.radians, self.shift, self.scale = math.radians(degrees), shift, scale
        self.gamma, self.noise, self.mirror, self.blur = gamma, noise, mirror, blur

    def _uniform(self, count: int, limit: float) -> Tensor:
        return torch.from_numpy(self.R.uniform(-limit, limit, count)).float()

    def __call__(self, data: Tensor, side: int | None = None) -> Tensor:
        side = side or data.shape[-1]
        batch = self._coarser(unit_range(data))
        grid = F.affine_grid(self._maps(len(batch)).to(batch), [*batch.shape[:2], side, side], align_corners=False)
        batch = F.grid_sample(batch, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        power = torch.exp(self._uniform(len(batch), self.gamma)).to(batch)[:, None, None, None]
        batch = standardised(batch.clamp(1e-4, 1) ** power)
        strength = torch.from_numpy(self.R.uniform(0, self.noise, len(batch))).float().to(batch)
        seed = int(self.R.randint(2**31 - 1))
        noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(seed)).to(batch)
        return batch + noise * strength[:, None, None, None]

    def _coarser(self, batch: Tensor) -> Tensor:
        if self.R.uniform() >= self.blur:
            return batch
        side = max(8, int(batch.shape[-1] * self.R.choice([0.5, 0.625, 0.75, 0.875])))
        return F.interpolate(batch, size=(side, side), mode=str(self.R.choice(["area", "bilinear"])))

    def _maps(self, count: int) -> Tensor:
        """Draw an affine map for each of `count` pictures, [count, 2, 3]."""
        angle, scale = self._uniform(count, self.radians), torch.exp(self._uniform(count, self.scale))
        aspect, shear = torch.exp(self._uniform(count, 0.06)), self._uniform(count, 0.06)
        flip = 1 - 2 * torch.from_numpy(self.R.uniform(size=count) < self.mirror).float()
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        upper = torch.stack([cos * flip * aspect, shear - sin, self._uniform(count, 2 * self.shift)], 1)
        lower = torch.stack([sin * flip, cos / aspect, self._uniform(count, 2 * self.shift)], 1)
        return torch.stack([upper, lower], 1)


def unit_range(batch: Tensor) -> Tensor:
    """Return a batch [n, channels, S, S], each picture scaled from its own range to 0..1."""
    low, high = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    return (batch - low) / (high - low).clamp_min(1e-6)


def mixed(batch: Tensor, targets: Tensor, weights: Tensor, rng: Any, chance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Apply mixup (Zhang et al. 2018) to a whole batch with probability `chance`; `rng` is a numpy RandomState.

    Returns batch, targets and weights.
    """
    if rng.uniform() >= chance:
        return batch, targets, weights
    share, partner = float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(len(batch)))
    blend = [share * part + (1 - share) * part[partner.to(part.device)] for part in (batch, targets, weights)]
    return blend[0], blend[1], blend[2]
