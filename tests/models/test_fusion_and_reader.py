"""Fusion at its limits, interpolation, and which tokens each slot reads."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hybrid_pipeline.models.fusion import GatedFusion
from hybrid_pipeline.models.q_head import QHead
from hybrid_pipeline.models.reader import GridReader, PoolReader, build_reader
from hybrid_pipeline.models.token_grid import resize_tokens, square_grid


@pytest.mark.parametrize(("bias", "gate"), [(60.0, 1.0), (-60.0, 0.0)])
def test_gate_one_keeps_clip_and_zero_the_vit(bias, gate):
    fusion = GatedFusion(6, 5, 8)
    with torch.no_grad():
        fusion.gate[-1].bias.fill_(bias)
    clip, vit = torch.randn(2, 9, 6), torch.randn(2, 9, 5)
    out = fusion(clip, vit)
    kept = fusion.clip_proj(clip) if gate else fusion.vit_proj(vit)
    assert_close(out.tokens, kept)
    assert_close(out.gate, torch.full((2, 9, 1), gate))


def test_blend_is_convex_per_token():
    fusion = GatedFusion(6, 5, 8)
    clip, vit = torch.randn(2, 9, 6), torch.randn(2, 9, 5)
    out = fusion(clip, vit)
    by_hand = out.gate * fusion.clip_proj(clip) + (1 - out.gate) * fusion.vit_proj(vit)
    assert_close(out.tokens, by_hand)
    assert out.gate.flatten(1).std(dim=1).min() > 0  # per token, not per image


@pytest.mark.parametrize(
    ("clip_tokens", "vit_tokens", "grids"),
    [(49, 64, ()), (64, 16, ()), (1, 64, ()), (6, 8, ((2, 3), (2, 4))), (8, 8, ((4, 2), (2, 4)))],
)
def test_differing_grids_take_the_vits(clip_tokens, vit_tokens, grids):
    fusion = GatedFusion(6, 5, 8, *grids)
    out = fusion(torch.randn(2, clip_tokens, 6), torch.randn(2, vit_tokens, 5))
    assert out.tokens.shape == (2, vit_tokens, 8)
    assert out.gate.shape == (2, vit_tokens, 1)


def test_one_pooled_token_reaches_every_place_alike():
    fusion = GatedFusion(6, 5, 8)
    with torch.no_grad():
        fusion.gate[-1].bias.fill_(60.0)
    out = fusion(torch.randn(2, 1, 6), torch.randn(2, 16, 5)).tokens
    assert_close(out, out[:, :1].expand_as(out))


def test_interpolation_against_theory():
    """Bilinear: halving averages 2 x 2 blocks of a ramp, doubling keeps it linear inside."""
    ramp = torch.arange(4.0)[:, None] * 10 + torch.arange(4.0)
    tokens = ramp.reshape(1, 16, 1)
    coarse = resize_tokens(tokens, (4, 4), (2, 2)).reshape(2, 2)
    # the triangle filter of width 2 around .5 has weights 3, 3, 1 over samples 0, 1, 2: 5 / 7
    low, high = 5 / 7, 3 - 5 / 7
    expected = torch.tensor([[a * 10 + b for b in (low, high)] for a in (low, high)])
    assert_close(coarse, expected)
    fine = resize_tokens(tokens, (4, 4), (8, 8)).reshape(8, 8)
    assert_close(fine[3:5, 3:5] - fine[3, 3], torch.tensor([[0.0, 0.5], [5.0, 5.5]]))
    assert resize_tokens(tokens, (4, 4), (4, 4)) is tokens


def test_grids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no square grid"):
        square_grid(12)
    with pytest.raises(ValueError, match="do not fill a grid of 3 x 4"):
        resize_tokens(torch.zeros(1, 16, 2), (3, 4), (4, 4))


def test_each_slot_reads_its_own_four_tokens_in_order():
    reader = GridReader((4, 6), (2, 3), in_dim=5, dim=7)
    tokens = torch.randn(2, 24, 5)
    slots = reader(tokens)
    grid = reader.norm(tokens).reshape(2, 4, 6, 5)
    for row in range(2):
        for column in range(3):
            block = grid[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
            assert_close(slots[:, 3 * row + column], reader.merge(block))


@pytest.mark.parametrize("slot_grid", [(9, 9), (2, 2), (4, 4), (3, 5)])
def test_reader_serves_any_slot_grid(slot_grid):
    reader = build_reader((8, 8), slot_grid, 6, 8)
    assert isinstance(reader, GridReader)
    assert reader(torch.randn(2, 64, 6)).shape == (2, slot_grid[0] * slot_grid[1], 8)


def test_one_slot_pools_and_forgets_order():
    reader = build_reader((4, 4), None, 6, 8)
    assert isinstance(reader, PoolReader)
    tokens = torch.randn(2, 16, 6)
    assert reader(tokens).shape == (2, 1, 8)
    assert_close(reader(tokens), reader(tokens.flip(1)))


def test_q_head_starts_without_a_preference():
    q = QHead(5, 3, 16)(torch.randn(4, 5))
    assert_close(q, torch.zeros(4, 3), rtol=0, atol=0)
