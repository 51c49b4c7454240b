"""Backward passes that are written out: against autograd's, and against differences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from hybrid_pipeline.models.elementwise import gated, rms_norm, rotated

FLOAT64 = {"rtol": 1e-10, "atol": 1e-12}


def plainly_gated(x):
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def plainly_normed(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


def angles(turned):
    angle = torch.randn(4, turned, 3, 8, dtype=torch.float64)
    return angle.cos(), angle.sin()


def gradient(function, x, weights):
    found = function(x)
    found = found if isinstance(found, torch.Tensor) else torch.stack(found, dim=2)
    return torch.autograd.grad((weights * found).sum(), x)[0]


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(gated, plainly_gated), (lambda x: rms_norm(x, 1e-5), plainly_normed)],
    ids=["gate", "norm"],
)
def test_gate_and_norm_against_autograd(ours, theirs, layout):
    torch.manual_seed(0)
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    x = (x if layout == "contiguous" else x.transpose(1, 2)).requires_grad_()
    weights = torch.randn_like(theirs(x))
    assert_close(ours(x), theirs(x), **FLOAT64)
    assert_close(gradient(ours, x, weights), gradient(theirs, x, weights), **FLOAT64)
    assert torch.autograd.gradcheck(ours, (x,))


@pytest.mark.parametrize(("parts", "turned"), [(3, 2), (2, 1), (1, 1)])
def test_rotation_against_autograd(parts, turned):
    torch.manual_seed(0)
    cos, sin = angles(turned)
    x = torch.randn(2, 4, parts, 3, 8, dtype=torch.float64, requires_grad=True)

    def ours(x):
        return rotated(x, cos, sin)

    def theirs(x):
        part = x[:, :, :turned]
        done = part * cos + part.roll(4, dims=-1) * sin
        return torch.cat([done, x[:, :, turned:]], dim=2)

    weights = torch.randn_like(x)
    assert_close(torch.stack(ours(x), dim=2), theirs(x), **FLOAT64)
    assert_close(gradient(ours, x, weights), gradient(theirs, x, weights), **FLOAT64)
    assert torch.autograd.gradcheck(ours, (x,))


def test_a_part_that_nobody_uses_has_a_gradient_of_zero():
    cos, sin = angles(2)
    x = torch.randn(2, 4, 3, 3, 8, dtype=torch.float64, requires_grad=True)
    query, _, _ = rotated(x, cos, sin)
    query.sum().backward()
    assert x.grad[:, :, 0].abs().sum() > 0
    assert x.grad[:, :, 1:].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_in_and_comes_out_and_is_widened_between(dtype):
    torch.manual_seed(0)
    cos, sin = (angle.float() for angle in angles(2))
    x = torch.randn(2, 4, 3, 3, 8).to(dtype).requires_grad_()
    found = torch.stack(rotated(x, cos, sin), dim=2)
    exact = torch.stack(rotated(x.detach().float(), cos, sin), dim=2)
    assert found.dtype == dtype
    assert_close(found, exact.to(dtype), rtol=0, atol=0)
    weights = torch.randn(found.shape).to(dtype)
    (found * weights).sum().backward()
    wide = x.detach().float().requires_grad_()
    (torch.stack(rotated(wide, cos, sin), dim=2) * weights.float()).sum().backward()
    assert x.grad.dtype == dtype
    assert_close(x.grad, wide.grad.to(dtype), rtol=0, atol=0)


def test_the_norm_of_half_precision_is_computed_in_fp32():
    x = torch.full((2, 4), 300.0, dtype=torch.float16, requires_grad=True)  # its square overflows
    y = rms_norm(x, 1e-5)
    assert y.dtype == torch.float16
    assert y.tolist() == [[1.0] * 4] * 2
    y.sum().backward()
    assert x.grad.dtype == torch.float16
    assert bool(x.grad.isfinite().all())
