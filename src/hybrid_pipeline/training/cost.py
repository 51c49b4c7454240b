"""What an arm costs: parameters and floating-point operations."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hybrid_pipeline.models.hybrid import HybridModel


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """Trainable parameters and all parameters that the arm itself holds (no frozen tower)."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {
        "trainable": sum(n for n, trainable in counts if trainable),
        "total": sum(n for n, _ in counts),
    }


def example_inputs(model: HybridModel) -> tuple[Tensor, Tensor | None]:
    """An image of zeros [1, 1, H, W] and its frozen tokens [1, T, C], where the model lies."""
    shape, device = model.shape, next(model.parameters()).device
    images = torch.zeros(1, 1, shape.image_size, shape.image_size, device=device)
    if not model.arm.reads_tokens:
        return images, None
    return images, torch.zeros(1, shape.clip_tokens, shape.clip_width, device=device)


@torch.no_grad()
def flops_per_example(model: HybridModel) -> int:
    """Floating-point operations of one forward pass at full depth (a multiply-add counts as two).

    Frozen features are cached and not counted. Elementwise operations are not counted either, as is
    the custom of PyTorch's counter.
    """
    images, clip = example_inputs(model)
    model = copy.deepcopy(model).requires_grad_(False).eval()  # the counter hooks gradients
    with FlopCounterMode(display=False) as counter:
        encoding = model.encode(images, clip)
        carry = model.initial_carry(encoding.x)
        for _ in range(model.max_steps):
            carry = model.step(carry, encoding.x).carry
    return int(counter.get_total_flops())
