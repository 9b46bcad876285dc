"""EfficientNet-Lite: inverted bottlenecks with ReLU6 and no squeeze-and-excitation.

Tan and Le, EfficientNet, ICML 2019, table 1, in the Lite form that its authors published in 2020 for devices without
fast sigmoids: the blocks are the same, and the stem and the head have the same width in every size. ReLU6 keeps
activations small, so that little accuracy is lost with weights and arithmetic of 16 bits. Convolutions pad as
TensorFlow's "SAME" does, because the published weights were trained that way.
"""

# Do not move or rename this module, `EfficientNetLite` or `EarlyLayers`: bundles name
# `inference.efficientnet_lite.EfficientNetLite` and `.EarlyLayers` in configs/inference.json. The configuration of a
# pinned bundle is used as it is, so an alias in inference/allowed.py would not help. The names of the attributes are
# the names of the tensors in the bundles' weights.

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

#: For each stage: number of blocks, kernel, stride of the first block, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
STEM, HEAD = 32, 1280  # channels


class Convolution(nn.Sequential):
    """A convolution with an output of ceil(side / stride), batch normalisation and, unless `linear`, ReLU6."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1,
                 linear: bool = False) -> None:  # fmt: skip
        layers: list[tuple[str, nn.Module]] = [
            ("convolution", SameConvolution(before, after, kernel, stride, groups=groups, bias=False)),
            ("normalisation", nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)),
        ]
        super().__init__(OrderedDict(layers if linear else [*layers, ("activation", nn.ReLU6())]))


class SameConvolution(nn.Conv2d):
    """A convolution padded so that its output has ceil(side / stride) pixels a side.

    If the padding is odd, the lower and the right edge get the additional pixel.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        down, right = (self._padding(side) for side in input.shape[-2:])
        padded = F.pad(input, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    def _padding(self, side: int) -> int:
        stride, kernel = self.stride[0], self.kernel_size[0]
        return max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)


class Bottleneck(nn.Module):
    """Widens the channels, filters each by itself and narrows them again.

    The input is added to the output if both have the same shape.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        wide = before * expansion
        layers = [Convolution(before, wide)] if expansion > 1 else []
        layers += [Convolution(wide, wide, kernel, stride, groups=wide), Convolution(wide, after, linear=True)]
        self.layers = nn.Sequential(*layers)
        self.added, self.drop = stride == 1 and before == after, drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        if not self.added:
            return result
        if self.training and self.drop:  # stochastic depth, Huang et al. 2016
            kept = torch.rand((len(x), 1, 1, 1), device=x.device) >= self.drop
            result = result * kept / (1 - self.drop)
        return result + x


class EfficientNetLite(nn.Module):
    """Returns logits [n, out_channels] for pictures [n, in_channels, S, S].

    The last feature map has ceil(S / 32) cells a side.

    `depth` and `width` scale the number of blocks and their channels: 1.0 and 1.0 give Lite0,
    1.1 and 1.0 Lite1, 1.2 and 1.1 Lite2.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: float = 1.0, width: float = 1.0,
                 dropout: float = 0.2, drop_blocks: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        self.stem = Convolution(in_channels, STEM, 3, 2)
        shapes, before = [], STEM
        for number, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES):
            after = _rounded(channels * width)
            count = blocks if number in (0, len(STAGES) - 1) else math.ceil(blocks * depth)
            for block in range(count):
                shapes.append((before, after, kernel, 1 if block else stride, expansion))
                before = after
        self.blocks = nn.Sequential(*[Bottleneck(*shape, drop=drop_blocks * i / len(shapes))
                                      for i, shape in enumerate(shapes)])  # fmt: skip
        self.channels = [after for _, after, *_ in shapes]  # of each block
        self.head = Convolution(before, HEAD)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HEAD, out_channels)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(self.head(self.blocks(self.stem(batch)))).flatten(1)
        logits: torch.Tensor = self.classifier(self.dropout(pooled))
        return logits


class EarlyLayers(nn.Module):
    """Returns logits [n, out_channels] from mean and mean square of the channels of an EfficientNetLite's first blocks.

    The last feature map has ceil(S / 32) cells a side, as that of a whole network, and both values of each channel, so
    that the network ends as others do and can be a member of an `Ensemble`. `normalisation` brings the values near 0
    and 1, or else 16 bits would round away what differs between pictures.
    """

    fitted = ("normalisation.",)  # the tensors that published weights do not hold

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, depth: float = 1.0, width: float = 1.0
    ) -> None:
        super().__init__()
        whole = EfficientNetLite(in_channels, 1, depth, width, drop_blocks=0.0)
        self.stem, self.blocks = whole.stem, whole.blocks[:blocks]
        self.normalisation = nn.BatchNorm2d(2 * whole.channels[blocks - 1], eps=1e-12, affine=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2 * whole.channels[blocks - 1], out_channels)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(batch))
        rows, columns = (math.ceil(int(side) / 32) for side in batch.shape[-2:])
        maps = F.adaptive_avg_pool2d(self.normalisation(torch.cat([x, x * x], dim=1)), (rows, columns))
        logits: torch.Tensor = self.classifier(self.pool(maps).flatten(1))
        return logits


def _rounded(channels: float, step: int = 8) -> int:
    """Return the nearest multiple of `step`, or the next one if that is less than nine tenths of `channels`."""
    nearest = max(step, int(channels + step / 2) // step * step)
    return nearest if nearest >= 0.9 * channels else nearest + step
