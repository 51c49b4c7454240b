"""The shared core against other implementations, by hand and at its limits."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from hybrid_pipeline.config import CoreConfig, swiglu_width
from hybrid_pipeline.models.elementwise import rms_norm
from hybrid_pipeline.models.layers import (
    Attention,
    Cache,
    Core,
    Linear,
    RotaryEmbedding,
    SwiGLU,
    attend,
    truncated_normal_,
)


def core(**options) -> Core:
    torch.manual_seed(0)
    return Core(CoreConfig(dim=16, num_heads=2, **options), num_slots=5)


def test_truncated_normal_has_the_wanted_deviation_after_the_cut():
    torch.manual_seed(0)
    drawn = truncated_normal_(torch.empty(200_000), std=0.25)
    assert drawn.std().item() == pytest.approx(0.25, rel=0.01)
    uncut = 0.25 / 0.87962566  # deviation of a unit normal cut at two sigma, from tables
    assert drawn.abs().max().item() == pytest.approx(2 * uncut, rel=1e-3)
    assert truncated_normal_(torch.ones(3), std=0.0).eq(0).all()


def test_linear_starts_from_lecun_normal():
    torch.manual_seed(0)
    layer = Linear(400, 300)
    assert layer.bias is None
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)


def test_rms_norm_equals_torch():
    x = torch.randn(4, 7, 16)
    assert_close(rms_norm(x, 1e-5), functional.rms_norm(x, (16,), eps=1e-5))


def test_rms_norm_of_half_precision_is_taken_in_fp32():
    x = torch.full((1, 8), 300.0, dtype=torch.float16)  # 300 squared overflows fp16
    out = rms_norm(x, 1e-5)
    assert out.dtype == torch.float16
    assert_close(out, torch.ones_like(x))


@pytest.mark.parametrize(
    ("size", "expansion", "multiple", "width"),
    [(512, 4.0, 256, 1536), (64, 2.0, 256, 256), (64, 2.0, 64, 128), (96, 2.0, 1, 128)],
)
def test_swiglu_width_by_hand(size, expansion, multiple, width):
    assert swiglu_width(size, expansion, multiple) == width


def test_swiglu_by_hand():
    layer = SwiGLU(2, expansion=1.5, multiple=1)  # width 2
    with torch.no_grad():
        layer.gate_up.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, 3]]))
        layer.down.weight.copy_(torch.eye(2))
    silu = [v / (1 + math.exp(-v)) for v in (1.0, -2.0)]
    assert_close(layer(torch.tensor([1.0, -2.0])), torch.tensor([silu[0] * 2, silu[1] * -6]))


def test_rotary_is_a_rotation_in_complex_numbers():
    rotary = RotaryEmbedding(head_dim=8, num_heads=3, num_positions=6, theta=100.0)
    x = torch.randn(2, 4, 2, 3, 8)
    positions = torch.tensor([0, 5, 2, 2])
    frequency = 100.0 ** (-torch.arange(4) / 4)
    turn = torch.polar(torch.ones(4, 4), positions[:, None] * frequency)[:, None, None]
    turned = torch.complex(x[..., :4], x[..., 4:]) * turn
    expected = torch.cat([turned.real, turned.imag], dim=-1)
    found = torch.stack(rotary(positions)(x, turned=2), dim=2)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_rotary_refuses_an_odd_width():
    with pytest.raises(ValueError, match="even head width, got 3"):
        RotaryEmbedding(3, 2, 4, 10.0)


def test_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    ours = Attention(16, 4)
    theirs = nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.out.weight)
    x, mask = torch.randn(3, 6, 16), torch.rand(6, 6) < 0.5
    mask.fill_diagonal_(True)
    for allowed in (None, mask):
        blocked = None if allowed is None else ~allowed
        expected, _ = theirs(x, x, x, attn_mask=blocked)
        out = ours.out(attend(*ours.project(x, None), allowed))
        assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_masked_and_unmasked_attention_agree_where_all_is_allowed():
    q, k, v = (torch.randn(2, 3, n, 4) for n in (5, 7, 7))
    everywhere = torch.ones(5, 7, dtype=torch.bool)
    assert_close(attend(q, k, v, everywhere), attend(q, k, v, None), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mlp_t", [False, True])
def test_a_block_is_post_norm(mlp_t):
    out = core(mlp_t=mlp_t)(10 * torch.randn(2, 5, 16))
    assert_close(out.square().mean(-1), torch.ones(2, 5), rtol=1e-4, atol=1e-4)


def test_injection_is_added_once_before_the_first_layer():
    model, hidden, injection = core(), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    assert torch.equal(model(hidden, injection), model(hidden + injection))


def test_without_positions_attention_does_not_know_the_order():
    model, x = core(pos_encodings="none"), torch.randn(2, 5, 16)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert_close(model(x[:, order]), model(x)[:, order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"mlp_t": True, "pos_encodings": "none"}])
def test_rope_and_slot_mixing_do_know_the_order(options):
    model, x = core(**options), torch.randn(2, 5, 16)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert (model(x[:, order]) - model(x)[:, order]).abs().max() > 1e-3


def test_rope_sees_only_relative_positions():
    model, x = core(), torch.randn(2, 5, 16)
    shifted = model(x, positions=torch.arange(5) + 9)
    assert_close(shifted, model(x), rtol=1e-4, atol=1e-4)


def test_learned_positions_are_added_to_the_input_and_trained():
    model, x = core(pos_encodings="learned"), torch.randn(2, 5, 16)
    with_positions = model.add_positions(x)
    assert_close(with_positions, (x + model.positions) / 2**0.5)
    model(with_positions).square().sum().backward()
    assert model.positions.grad is not None
    assert torch.equal(core().add_positions(x), x)


@pytest.mark.parametrize("pos_encodings", ["rope", "learned", "none"])
def test_extending_a_cache_equals_one_causal_pass(pos_encodings):
    model, x = core(pos_encodings=pos_encodings), torch.randn(2, 5, 16)
    causal, positions = torch.ones(5, 5, dtype=torch.bool).tril(), torch.arange(5)
    cache, parts = Cache(2), []
    for start, stop in [(0, 2), (2, 3), (3, 5)]:
        rows = slice(start, stop)
        parts.append(model.extend(x[:, rows], cache, positions[rows], causal[rows, :stop]))
    assert cache.num_tokens == 5
    assert_close(torch.cat(parts, 1), model(x, mask=causal), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pos_encodings", ["rope", "learned", "none"])
def test_remembering_makes_the_keys_and_values_that_extending_makes(pos_encodings):
    model, x = core(pos_encodings=pos_encodings), torch.randn(2, 5, 16)
    positions, causal = torch.arange(5), torch.ones(5, 5, dtype=torch.bool).tril()
    caches = Cache(2), Cache(2)
    for rows in (slice(0, 3), slice(3, 5)):
        given = positions[rows], causal[rows, : rows.stop]
        model.extend(x[:, rows], caches[0], *given)
        model.remember(x[:, rows], caches[1], *given)
    assert caches[1].num_tokens == 5
    for extended, remembered in zip(*(cache.layers for cache in caches), strict=True):
        assert_close(remembered, extended, rtol=1e-5, atol=1e-6)


def test_reading_leaves_the_cache_and_equals_a_masked_pass():
    model, x = core(), torch.randn(2, 5, 16)
    cache, positions = Cache(2), torch.arange(5)
    model.extend(x[:, :3], cache, positions[:3], None)
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[:3, :3] = True
    mask[3, :2] = mask[4, 1:3] = True
    read = model.read(x[:, 3:], cache, positions[3:], mask[3:, :3])
    assert cache.num_tokens == 3
    assert_close(read, model(x, mask=mask)[:, 3:], rtol=1e-5, atol=1e-5)


def test_an_empty_cache_cannot_be_read():
    with pytest.raises(ValueError, match="cache is empty"):
        core().read(torch.randn(1, 2, 16), Cache(2), torch.arange(2), None)


def test_mlp_t_refuses_what_it_cannot_do():
    model = core(mlp_t=True)
    with pytest.raises(ValueError, match=r"mixes exactly 5 slots.* got 4 tokens"):
        model(torch.randn(1, 4, 16))
    with pytest.raises(ValueError, match="takes no mask"):
        model(torch.randn(1, 5, 16), mask=torch.ones(5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="mlp_t=false"):
        model.extend(torch.randn(1, 5, 16), Cache(2), torch.arange(5), None)
    with pytest.raises(ValueError, match="keeps no keys"):
        model.remember(torch.randn(1, 5, 16), Cache(2), torch.arange(5), None)
