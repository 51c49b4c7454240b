"""Rewards, in units of accuracy: what an example gets right, less what its thinking costs.

The return of an episode with ``gamma`` 1 is: accuracy at the halt - step_cost times the further
steps - expansion_penalty times the expansions.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hybrid_pipeline.halting.actions import EXPAND, HALT


def slot_accuracy(
    predicted: Int[Tensor, "batch slots"],
    targets: Int[Tensor, "batch slots"],
    scored: Bool[Tensor, "batch slots"],
) -> Float[Tensor, " batch"]:
    """Share of an example's scored slots that are right; 0 where none is scored."""
    right = ((predicted == targets) & scored).sum(dim=1)
    return right.float() / scored.sum(dim=1).clamp(min=1)


def action_rewards(
    actions: Int[Tensor, " batch"],
    accuracy: Float[Tensor, " batch"],
    *,
    step_cost: float,
    expansion_penalty: float,
) -> Float[Tensor, " batch"]:
    """The reward of one action per example.

    ``HALT``: the accuracy now. ``CONTINUE``: - step_cost. ``EXPAND``: - step_cost -
    expansion_penalty, because it plans again and takes a step.

    Args:
        actions: what was done.
        accuracy: share of slots right at this step, 0 to 1.
        step_cost: accuracy that a further step must gain to pay.
        expansion_penalty: the same of an expansion, annealed by the caller.
    """
    cost = step_cost + expansion_penalty * (actions == EXPAND).to(accuracy.dtype)
    return accuracy.where(actions == HALT, -cost)
