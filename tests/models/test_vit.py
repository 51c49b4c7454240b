"""The custom ViT: shapes of every variant, positions and blocks against other implementations."""

from __future__ import annotations

import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from torch import nn
from torch.testing import assert_close

from hybrid_pipeline.config import VitConfig
from hybrid_pipeline.models.vit import ConvStem, CustomViT, sincos_positions


@pytest.mark.parametrize("stem", ["conv", "patch"])
@pytest.mark.parametrize("pos_encodings", ["learned", "sincos"])
@pytest.mark.parametrize(
    ("patch_size", "image_size", "grid"),
    [(8, 64, (8, 8)), (16, 64, (4, 4)), (4, (8, 16), (2, 4))],
)
def test_every_variant_gives_its_grid_and_trains(stem, pos_encodings, patch_size, image_size, grid):
    config = VitConfig(
        stem=stem, pos_encodings=pos_encodings, patch_size=patch_size, embed_dim=32, depth=1
    )
    vit = CustomViT(config, image_size)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    tokens = vit(torch.randn(3, 1, height, width))
    assert vit.grid == grid
    assert tokens.shape == (3, vit.num_tokens, 32)
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert [n for n, p in vit.named_parameters() if p.requires_grad and p.grad is None] == []
    assert vit.positions.requires_grad == (pos_encodings == "learned")


def test_conv_stem_of_the_base_profile():
    shapes = [tuple(m.weight.shape) for m in ConvStem(1, 8, 64) if isinstance(m, nn.Conv2d)]
    assert shapes == [(16, 1, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3)]
    assert len(ConvStem(3, 16, 768)) == 4 * 3


def test_patch_tokens_are_row_major():
    vit = CustomViT(VitConfig(stem="patch", depth=1), 64)
    blank, dot = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    dot[..., 8 * 2 : 8 * 3, 8 * 5 : 8 * 6] = 1.0
    change = (vit.stem(dot) - vit.stem(blank)).flatten(2).abs().sum(1)[0]
    assert change.nonzero().flatten().tolist() == [2 * 8 + 5]


def test_sincos_positions_agree_with_timm():
    ours = sincos_positions((3, 5), 32)[0]
    theirs = build_sincos2d_pos_embed([3, 5], dim=32, interleave_sin_cos=False)
    # timm orders the channels otherwise; their order does not change the inner products
    assert_close(ours @ ours.T, theirs @ theirs.T, rtol=1e-5, atol=1e-5)


def test_sincos_positions_by_hand():
    table = sincos_positions((2, 3), 4)[0]  # one frequency, omega 1
    row, column = 1.0, 2.0
    by_hand = torch.tensor([column, column, row, row])
    expected = torch.stack([by_hand[0].sin(), by_hand[1].cos(), by_hand[2].sin(), by_hand[3].cos()])
    assert_close(table[1 * 3 + 2], expected)


def test_forward_agrees_with_torch_encoder_layers():
    """The same weights in torch's own pre-norm encoder give the same tokens."""
    config = VitConfig(stem="patch", embed_dim=32, depth=2, num_heads=4)
    vit = CustomViT(config, 32).eval()
    layers = []
    for block in vit.blocks:
        layer = nn.TransformerEncoderLayer(
            32,
            4,
            64,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=block.norm1.eps,
            batch_first=True,
            norm_first=True,
        )
        layer.load_state_dict({
            "self_attn.in_proj_weight": block.attn.qkv.weight,
            "self_attn.in_proj_bias": block.attn.qkv.bias,
            "self_attn.out_proj.weight": block.attn.proj.weight,
            "self_attn.out_proj.bias": block.attn.proj.bias,
            "linear1.weight": block.mlp.fc1.weight,
            "linear1.bias": block.mlp.fc1.bias,
            "linear2.weight": block.mlp.fc2.weight,
            "linear2.bias": block.mlp.fc2.bias,
            **{f"norm{i}.{w}": getattr(getattr(block, f"norm{i}"), w)
               for i in (1, 2) for w in ("weight", "bias")},
        })  # fmt: skip
        layers.append(layer.eval())
    images = torch.randn(2, 1, 32, 32)
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).flatten(1, 3)
    tokens = patches @ vit.stem.weight.flatten(1).T + vit.stem.bias + vit.positions
    for layer in layers:
        tokens = layer(tokens)
    assert_close(vit(images), vit.norm(tokens), rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient():
    vit = CustomViT(VitConfig(embed_dim=32), 32)
    images, grads = torch.randn(2, 1, 32, 32), []
    for vit.gradient_checkpointing in (False, True):
        vit.zero_grad()
        vit(images).square().mean().backward()
        grads.append([p.grad.clone() for p in vit.parameters()])
    assert_close(grads[1], grads[0], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("config", "image_size", "message"),
    [
        ({"patch_size": 12}, 48, "power of two"),
        ({}, 60, "no whole number of vit.patch_size 8"),
        ({"pos_encodings": "sincos", "embed_dim": 18, "num_heads": 1}, 64, "multiple of 4"),
    ],
)
def test_impossible_sizes_are_refused(config, image_size, message):
    with pytest.raises(ValueError, match=message):
        CustomViT(VitConfig(**config), image_size)
