"""Tokens that lie on a grid of rows and columns, row-major."""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
