"""Elementwise arithmetic of the core's layers, with the backward passes written out.

Autograd's own give the same gradients with more passes over memory, which is what these layers
wait for: norm, gate and rotation hold few operations for each number that they read.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional


def in_full_precision(x: Tensor) -> Tensor:
    """The tensor in fp32 or wider: half precision is widened, float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


class _RmsNorm(torch.autograd.Function):
    """y = x r with r = (mean x^2 + eps)^(-1/2); dL/dx = r (g - y mean(g y)).

    The backward pass is written out because autograd's takes twice as many passes over the data.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, eps: float) -> Tensor:
        full = in_full_precision(x)
        scale = torch.rsqrt(full.square().mean(-1, keepdim=True).add_(eps))
        y = full * scale
        ctx.save_for_backward(y, scale)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        full = in_full_precision(gradient)
        along = (full * y).mean(-1, keepdim=True)
        found = torch.addcmul(full, y, along, value=-1).mul_(scale)
        return found.to(gradient.dtype), None


def rms_norm(x: Float[Tensor, "*batch dim"], eps: float) -> Float[Tensor, "*batch dim"]:
    """Scale the last axis to root mean square 1, in fp32 or wider, without a learned gain."""
    normed: Tensor = _RmsNorm.apply(x, eps)
    return normed


class _Gate(torch.autograd.Function):
    """silu(a) u of the halves [a, u] of the last axis, silu(a) = a sigmoid(a).

    The backward pass is written out so that both halves of the gradient are made in place, where
    autograd joins two tensors.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        opened = functional.silu(gate)
        ctx.save_for_backward(x, opened)
        return opened * up

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        x, opened = ctx.saved_tensors  # type: ignore[attr-defined]
        gate, up = x.chunk(2, dim=-1)
        found = torch.empty_like(x)
        for_gate, for_up = found.chunk(2, dim=-1)
        torch.mul(gradient, opened, out=for_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=for_gate)
        return found


def gated(x: Float[Tensor, "*batch twice"]) -> Float[Tensor, "*batch half"]:
    """SiLU of the first half of the last axis, times the second half."""
    found: Tensor = _Gate.apply(x)
    return found


class _Rotate(torch.autograd.Function):
    """y = x cos + swap(x) sin for the first parts of x; the others pass.

    The backward pass is written out because autograd's sends zeros and a copy for every part that
    was sliced off: it takes twice as long.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        turned = x[:, :, : cos.shape[1]]
        full = in_full_precision(turned)
        found = (full * cos).add_(_swap(full).mul_(sin)).to(x.dtype)
        return *found.unbind(2), *x[:, :, cos.shape[1] :].unbind(2)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = torch.stack(gradients, dim=2)
        turned = gradient[:, :, : cos.shape[1]]
        full = in_full_precision(turned)
        back = _swap(full * sin)
        turned.copy_((full * cos).add_(back))
        return gradient, None, None


def _swap(x: Tensor) -> Tensor:
    """The last axis with its halves exchanged."""
    return x.roll(x.shape[-1] // 2, dims=-1)


def rotated(
    x: Float[Tensor, "batch tokens parts heads width"],
    cos: Float[Tensor, "tokens turned heads width"],
    sin: Float[Tensor, "tokens turned heads width"],
) -> tuple[Float[Tensor, "batch tokens heads width"], ...]:
    """The parts of x, the first ``turned`` of them as x cos + swap(x) sin, in fp32 or wider.

    ``swap`` exchanges the halves of the last axis; their signs are in ``sin``.
    """
    parts: tuple[Tensor, ...] = _Rotate.apply(x, cos, sin)
    return parts
