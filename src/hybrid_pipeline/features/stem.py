"""A convolutional stem for small vision transformers."""

from __future__ import annotations

from torch import nn


class TowerStem(nn.Sequential):
    """Stride-2 convolutions in the place of a tower's patchify layer.

    Early convolutions make small transformers trainable in few steps (Xiao et al., "Early
    convolutions help transformers see better", NeurIPS 2021).
    """

    def __init__(self, channels: list[int], width: int) -> None:
        layers: list[nn.Module] = []
        for before, after in zip([3, *channels[:-1]], channels, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(4, after),
                nn.ReLU(),
            ]
        super().__init__(*layers, nn.Conv2d(channels[-1], width, 1, bias=False))
