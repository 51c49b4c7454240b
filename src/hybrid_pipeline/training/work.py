"""How much a pass or an update of an arm computes, from shapes: before any arm has trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.utils.flop_counter import FlopCounterMode

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.models.shapes import build_shapes
from hybrid_pipeline.training.cost import example_inputs


@torch.no_grad()
def forward_flops(model: HybridModel) -> int:
    """Floating-point operations of one forward pass on one example, at full depth.

    As ``cost.flops_per_example``, but one supervision step is counted for all: they cost the same.

    Args:
        model: the arm; it is of no use afterwards.
    """
    model = model.to("meta").requires_grad_(False).eval()  # the counter hooks gradients
    images, clip = example_inputs(model)
    with FlopCounterMode(display=False) as encoder:
        encoding = model.encode(images, clip)
    with FlopCounterMode(display=False) as step:
        model.step(model.initial_carry(encoding.x), encoding.x)
    return int(encoder.get_total_flops() + model.max_steps * step.get_total_flops())


def update_flops(model: HybridModel, *, encodings: int = 1) -> int:
    """Floating-point operations of one update on one example, forward and backward.

    Nothing is computed: the model goes to the device ``meta``, where tensors have shapes only.
    Elementwise operations, the optimiser and the DQN are not counted.

    Args:
        model: the arm; it is of no use afterwards.
        encodings: how often an update encodes an example: once, or once per supervision step.
    """
    model = model.to("meta").train()
    images, clip = example_inputs(model)
    with FlopCounterMode(display=False) as encoder:
        encoding = model.encode(images, clip)
        torch.autograd.backward(encoding.x.sum())
    x = encoding.x.detach().requires_grad_()
    with FlopCounterMode(display=False) as step:  # every supervision step costs the same
        out = model.step(model.initial_carry(x), x)
        penalty = model.penalty(out)
        loss = out.logits.sum() if penalty is None else out.logits.sum() + penalty.sum()
        torch.autograd.backward(loss)
    return int(encodings * encoder.get_total_flops() + model.max_steps * step.get_total_flops())


def work_of_arms(
    arms: Iterable[str],
    shapes: Iterable[InputShape],
    model: ModelConfig,
    *,
    encodes_every_step: bool = False,
) -> dict[str, float]:
    """FLOPs of an update per example, summed over the tasks that a cell trains.

    Args:
        arms: names.
        shapes: of the tasks.
        model: parameters.
        encodes_every_step: whether an update encodes once per supervision step.
    """
    work: dict[str, float] = {}
    seen = list(shapes)
    for name in arms:
        built = (build_shapes(find_arm(name), model, shape) for shape in seen)
        work[name] = float(
            sum(update_flops(m, encodings=m.max_steps if encodes_every_step else 1) for m in built)
        )
    return work
