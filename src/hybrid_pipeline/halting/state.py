"""What the policy sees: a summary of the answer state, never the labels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NUM_SCALARS = 7


def state_dim(dim: int) -> int:
    """Width of a state for answer states of ``dim`` channels."""
    return 2 * dim + NUM_SCALARS


@torch.no_grad()
def state_features(
    y: Float[Tensor, "batch slots dim"],
    logits: Float[Tensor, "batch slots classes"],
    scored: Bool[Tensor, "batch slots"],
    step: int | Int[Tensor, " batch"],
    max_steps: int,
    expansions: int | Int[Tensor, " batch"] = 0,
) -> Float[Tensor, "batch features"]:
    """The state of each example after a supervision step; fp32 and without gradient.

    In this order: mean of y over the scored slots, its standard deviation, then seven numbers in
    [0, 1] or near it: entropy mean and maximum (in units of log V), confidence mean and minimum,
    mean margin between the two likeliest classes, steps and expansions as shares of ``max_steps``.

    Args:
        y: answer state.
        logits: answer logits.
        scored: slots to be answered; the question, not the answer, says which.
        step: supervision steps so far, from 1.
        max_steps: bound on the steps.
        expansions: expansions so far.
    """
    y, probabilities = y.float(), logits.float().softmax(dim=-1)
    weight = scored.float()
    count = weight.sum(dim=1, keepdim=True).clamp(min=1)
    share = (weight / count)[..., None]
    mean = (y * share).sum(dim=1)
    std = ((y - mean[:, None]).square() * share).sum(dim=1).sqrt()
    entropy = torch.special.entr(probabilities).sum(dim=-1) / math.log(max(logits.shape[-1], 2))
    top = probabilities.topk(min(2, logits.shape[-1]), dim=-1).values
    confidence, margin = top[..., 0], top[..., 0] - top[..., -1]
    share = share[..., 0]
    scalars = [
        (entropy * share).sum(dim=1),
        (entropy * weight).amax(dim=1),
        (confidence * share).sum(dim=1),
        confidence.where(scored, 1.0).amin(dim=1),
        (margin * share).sum(dim=1),
        _share_of(step, max_steps, mean),
        _share_of(expansions, max_steps, mean),
    ]
    return torch.cat([mean, std, torch.stack(scalars, dim=1)], dim=1)


def _share_of(count: int | Tensor, total: int, like: Tensor) -> Tensor:
    if isinstance(count, Tensor):
        return count.float().expand(len(like)) / total
    return torch.full((len(like),), count / total, device=like.device)
