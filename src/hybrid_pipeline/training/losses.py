"""Losses over the scored answer slots.

TRM divides each example's loss by its number of scored slots, so a puzzle with many blanks weighs
as much as one with few (published ``ACTLossHead``), and sums over the batch; here the batch is
averaged, so that the learning rate does not depend on its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LossName = Literal["cross_entropy", "stablemax_cross_entropy"]


def log_stablemax(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """Log-probabilities of stablemax, a softmax with a linear instead of an exponential arm.

    s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; p = s / sum s. Computed in float64, as
    published. Source: Prieto et al., "Grokking at the edge of numerical stability",
    arXiv:2501.04697, equation 5; used by HRM and TRM.
    """
    x = logits.double()
    negative = x < 0
    # Each arm sees only its own side, so the other side's pole at x = 1 reaches no gradient.
    below = 1 / (1 - torch.where(negative, x, 0.0))
    s = torch.where(negative, below, x + 1)
    return s.log() - s.sum(dim=-1, keepdim=True).log()


def log_softmax(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """Log-probabilities of softmax in fp32 or wider."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return wide.log_softmax(dim=-1)


LOG_PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "cross_entropy": log_softmax,
    "stablemax_cross_entropy": log_stablemax,
}


def slot_losses(
    logits: Float[Tensor, "batch slots classes"],
    targets: Int[Tensor, "batch slots"],
    scored: Bool[Tensor, "batch slots"],
    loss: LossName = "cross_entropy",
) -> Float[Tensor, "batch slots"]:
    """Negative log-probability of the target in nats; 0 where the slot is not scored.

    Args:
        logits: before softmax or stablemax.
        targets: class per slot; ignored, and free to be invalid, where not scored.
        scored: True where the slot is to be answered.
        loss: which probabilities the logits stand for.

    Raises:
        ValueError: for an unknown loss, naming the known ones.
    """
    if loss not in LOG_PROBABILITIES:
        raise ValueError(f"unknown loss {loss!r}; expected one of {', '.join(LOG_PROBABILITIES)}")
    log_probability = LOG_PROBABILITIES[loss](logits)
    index = torch.where(scored, targets, 0).unsqueeze(-1)
    picked = log_probability.gather(-1, index).squeeze(-1)
    return -torch.where(scored, picked, 0.0)


def example_losses(
    logits: Float[Tensor, "batch slots classes"],
    targets: Int[Tensor, "batch slots"],
    scored: Bool[Tensor, "batch slots"],
    loss: LossName = "cross_entropy",
) -> Float[Tensor, " batch"]:
    """Mean over each example's scored slots; 0 for an example without any."""
    total = slot_losses(logits, targets, scored, loss).sum(dim=-1)
    return total / scored.sum(dim=-1).clamp_min(1)
