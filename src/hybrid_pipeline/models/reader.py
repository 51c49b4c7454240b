"""From image tokens to answer slots: the only place that knows both grids."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from hybrid_pipeline.models.token_grid import resize_tokens


class GridReader(nn.Module):
    """Merge 2 x 2 tokens into each slot of the task's grid.

    The token grid is interpolated to twice the slot grid where it differs; then LayerNorm,
    concatenation of the four tokens of a slot (row-major) and a Linear map: the patch merging of
    Swin (Liu et al., ICCV 2021, section 3.1), with the norm before the concatenation.

    Args:
        token_grid: rows and columns of the tokens.
        slot_grid: rows and columns of the answer slots.
        in_dim: channels of a token.
        dim: channels of a slot.
    """

    def __init__(
        self, token_grid: tuple[int, int], slot_grid: tuple[int, int], in_dim: int, dim: int
    ) -> None:
        super().__init__()
        self.token_grid, self.slot_grid = token_grid, slot_grid
        self.norm = nn.LayerNorm(in_dim)
        self.merge = nn.Linear(4 * in_dim, dim)

    def forward(
        self, tokens: Float[Tensor, "batch tokens in_dim"]
    ) -> Float[Tensor, "batch slots dim"]:
        """Read the slots, row-major.

        Raises:
            ValueError: when the tokens do not fill ``token_grid``.
        """
        rows, columns = self.slot_grid
        fine = resize_tokens(tokens, self.token_grid, (2 * rows, 2 * columns))
        quads = self.norm(fine).unflatten(1, (rows, 2, columns, 2)).transpose(2, 3)
        return self.merge(quads.flatten(3).flatten(1, 2))


class PoolReader(nn.Module):
    """One slot: LayerNorm, mean over the tokens, Linear.

    Args:
        in_dim: channels of a token.
        dim: channels of the slot.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.project = nn.Linear(in_dim, dim)

    def forward(self, tokens: Float[Tensor, "batch tokens in_dim"]) -> Float[Tensor, "batch 1 dim"]:
        """Read the one slot of a classification task."""
        return self.project(self.norm(tokens).mean(dim=1, keepdim=True))


def build_reader(
    token_grid: tuple[int, int], slot_grid: tuple[int, int] | None, in_dim: int, dim: int
) -> GridReader | PoolReader:
    """A ``GridReader`` for a task with a grid of slots, a ``PoolReader`` for one without."""
    if slot_grid is None:
        return PoolReader(in_dim, dim)
    return GridReader(token_grid, slot_grid, in_dim, dim)
