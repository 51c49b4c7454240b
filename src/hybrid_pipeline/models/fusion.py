"""A gate per token between the frozen tower's grid and the ViT's.

A convex blend with a learned gate, as in highway networks (Srivastava et al., 2015, equation 3);
the form and its sizes are this project's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class FusionOutput:
    """Blended tokens and the gate that blended them (1 keeps CLIP, 0 keeps the ViT)."""

    tokens: Float[Tensor, "batch tokens dim"]
    gate: Float[Tensor, "batch tokens 1"]

    def metrics(self) -> dict[str, float]:
        """``fusion/gate_mean`` and ``fusion/gate_std`` over the tokens of the batch."""
        gate = self.gate.detach().float()
        return {
            "fusion/gate_mean": float(gate.mean()),
            "fusion/gate_std": float(gate.std(unbiased=False)),
        }


def square_grid(num_tokens: int) -> tuple[int, int]:
    """The square grid of a number of tokens.

    Raises:
        ValueError: when the number is no square; then the grid must be given.
    """
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise ValueError(f"{num_tokens} tokens form no square grid; give the grid (rows, columns)")
    return side, side


def resize_tokens(
    tokens: Float[Tensor, "batch tokens dim"], grid: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "batch target_tokens dim"]:
    """Interpolate a row-major token grid bilinearly; shrinking averages, nothing is skipped.

    Raises:
        ValueError: when ``grid`` does not hold the number of tokens given.
    """
    if grid[0] * grid[1] != tokens.shape[1]:
        raise ValueError(f"{tokens.shape[1]} tokens do not fill a grid of {grid[0]} x {grid[1]}")
    if grid == target:
        return tokens
    maps = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
    shrinks = target[0] < grid[0] or target[1] < grid[1]
    maps = F.interpolate(maps, size=target, mode="bilinear", antialias=shrinks)
    return maps.flatten(2).transpose(1, 2)


class GatedFusion(nn.Module):
    """LayerNorm and Linear to ``dim`` on each side; gate MLP (2 dim -> dim -> 1) per token.

    The output has the ViT's grid; a CLIP grid of another size is interpolated to it, and one pooled
    CLIP token is repeated over it.

    Args:
        clip_dim: channels of the frozen tower's tokens.
        vit_dim: channels of the ViT's tokens.
        dim: channels of the blend.
        clip_grid: rows and columns of CLIP's tokens; a square unless given.
        vit_grid: rows and columns of the ViT's tokens; a square unless given.
    """

    def __init__(
        self,
        clip_dim: int,
        vit_dim: int,
        dim: int,
        clip_grid: tuple[int, int] | None = None,
        vit_grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.clip_grid, self.vit_grid = clip_grid, vit_grid
        self.clip_proj = nn.Sequential(nn.LayerNorm(clip_dim), nn.Linear(clip_dim, dim))
        self.vit_proj = nn.Sequential(nn.LayerNorm(vit_dim), nn.Linear(vit_dim, dim))
        self.gate = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(), nn.Linear(dim, 1))

    def forward(
        self,
        clip: Float[Tensor, "batch clip_tokens clip_dim"],
        vit: Float[Tensor, "batch tokens vit_dim"],
    ) -> FusionOutput:
        """Blend the two grids with a gate in [0, 1] per token; 1 keeps CLIP."""
        a, b = self.clip_proj(clip), self.vit_proj(vit)
        if a.shape[1] != b.shape[1] or self.clip_grid != self.vit_grid:
            a = resize_tokens(
                a,
                self.clip_grid or square_grid(a.shape[1]),
                self.vit_grid or square_grid(b.shape[1]),
            )
        gate = torch.sigmoid(self.gate(torch.cat([a, b], dim=-1)))
        return FusionOutput(tokens=torch.lerp(b, a, gate), gate=gate)
