"""A gate per token between the frozen tower's grid and the ViT's.

A convex blend with a learned gate, as in highway networks (Srivastava et al., 2015, equation 3);
the form and its sizes are this project's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hybrid_pipeline.models.parts import FusionOutput, Site
from hybrid_pipeline.models.token_grid import resize_tokens, square_grid


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
        self.dim, self.clip_grid, self.vit_grid = dim, clip_grid, vit_grid
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


def build_fusion(site: Site) -> GatedFusion:
    """The gate between the frozen tokens and the ViT's, as wide as the core."""
    config = site.config
    return GatedFusion(site.shape.clip_width, config.vit.embed_dim, config.core.dim)
