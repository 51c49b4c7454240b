"""The custom, trainable ViT: a convolutional or patchify stem and timm blocks.

Sources: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, section 3.1 (patches,
learned positions, pre-norm blocks); Xiao et al., "Early convolutions help transformers see better",
NeurIPS 2021, section 3 (the stem of 3 x 3 convolutions with stride 2); Beyer et al., "Better plain
ViT baselines for ImageNet-1k", 2022 (sin-cos positions, no class token).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybrid_pipeline.config import VitConfig
from hybrid_pipeline.models.parts import Site

MIN_STEM_CHANNELS = 8
MAX_NORM_GROUPS = 8
SINCOS_BASE = 10_000.0


class ConvStem(nn.Sequential):
    """log2(patch_size) times [3 x 3 convolution with stride 2, GroupNorm, ReLU].

    Channels double from stage to stage and end at ``embed_dim``: 1 -> 16 -> 32 -> 64 for patches of
    8 pixels and 64 channels; no stage has fewer than 8 channels. Channels lie last in memory, as
    they do in the tokens: a CPU's convolutions take three quarters of the time that way.

    Raises:
        ValueError: when ``patch_size`` is no power of two.
    """

    def __init__(self, in_chans: int, patch_size: int, embed_dim: int) -> None:
        num_stages = int(math.log2(patch_size))
        if 2**num_stages != patch_size:
            raise ValueError(
                f"vit.stem 'conv' halves the image per stage: patch_size {patch_size} must be a "
                "power of two; or set vit.stem to 'patch'"
            )
        layers: list[nn.Module] = []
        channels = in_chans
        for stage in reversed(range(num_stages)):
            width = max(embed_dim // 2**stage, MIN_STEM_CHANNELS) if stage else embed_dim
            conv = nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1, bias=False)
            norm = nn.GroupNorm(math.gcd(width, MAX_NORM_GROUPS), width)
            layers += [conv, norm, nn.ReLU(inplace=True)]
            channels = width
        super().__init__(*layers)
        self.to(memory_format=torch.channels_last)


def sincos_positions(grid: tuple[int, int], dim: int) -> Float[Tensor, "1 tokens {dim}"]:
    """Fixed two-dimensional positions: sin and cos of the column, then of the row.

    Args:
        grid: rows and columns of the token grid.
        dim: channels, a quarter for each of sin(column), cos(column), sin(row), cos(row).

    Raises:
        ValueError: when ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"vit.pos_encodings 'sincos' needs embed_dim {dim} to be a multiple of 4")
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float32),
        torch.arange(grid[1], dtype=torch.float32),
        indexing="ij",
    )
    omega = SINCOS_BASE ** -(torch.arange(dim // 4, dtype=torch.float32) / (dim // 4))
    angles = [axis.reshape(-1, 1) * omega for axis in (columns, rows)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)[None]


class CustomViT(nn.Module):
    """Images to a grid of tokens, without a class token.

    Attributes:
        dim: channels of a token.
        grid: rows and columns of the token grid; tokens are row-major.
        num_tokens: rows times columns.
        gradient_checkpointing: recompute each block in the backward pass (memory for time).

    Args:
        config: stem, widths and depth.
        image_size: height and width in pixels, or one number for both.
        in_chans: channels of the image; rendered pages are grey, so 1.

    Raises:
        ValueError: when the image is no whole number of patches.
    """

    def __init__(
        self, config: VitConfig, image_size: int | tuple[int, int], in_chans: int = 1
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        patch = config.patch_size
        if height % patch or width % patch:
            raise ValueError(
                f"an image of {height} x {width} pixels is no whole number of vit.patch_size "
                f"{patch} patches"
            )
        self.dim = config.embed_dim
        self.grid = (height // patch, width // patch)
        self.num_tokens = self.grid[0] * self.grid[1]
        self.gradient_checkpointing = False
        self.stem: nn.Module
        if config.stem == "conv":
            self.stem = ConvStem(in_chans, patch, config.embed_dim)
        else:
            self.stem = nn.Conv2d(in_chans, config.embed_dim, kernel_size=patch, stride=patch)
        self.positions = _positions(config, self.grid)
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio, qkv_bias=True)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Encode images in ink units (background 0, ink 1) to normalised tokens."""
        tokens = self.stem(images).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False, preserve_rng_state=False)
            else:
                tokens = block(tokens)
        return self.norm(tokens)


def build_vit(site: Site) -> CustomViT:
    """The custom ViT for a task's images."""
    return CustomViT(site.config.vit, site.shape.image_size)


def _positions(config: VitConfig, grid: tuple[int, int]) -> nn.Parameter:
    if config.pos_encodings == "sincos":
        return nn.Parameter(sincos_positions(grid, config.embed_dim), requires_grad=False)
    learned = torch.empty(1, grid[0] * grid[1], config.embed_dim)
    return nn.Parameter(nn.init.trunc_normal_(learned, std=0.02))
