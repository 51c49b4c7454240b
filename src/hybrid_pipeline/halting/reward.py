"""Rewards, in units of the task's primary metric: what is right, less what its thinking costs.

The return of an episode with ``gamma`` 1 is: score at the halt - step_cost times the further
steps - expansion_penalty times the expansions.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hybrid_pipeline.config import PrimaryMetric
from hybrid_pipeline.halting.actions import EXPAND


def slot_accuracy(
    predicted: Int[Tensor, "batch slots"],
    targets: Int[Tensor, "batch slots"],
    scored: Bool[Tensor, "batch slots"],
) -> Float[Tensor, " batch"]:
    """Share of an example's scored slots that are right; 0 where none is scored."""
    right = ((predicted == targets) & scored).sum(dim=1)
    return right.float() / scored.sum(dim=1).clamp(min=1)


def answer_score(
    predicted: Int[Tensor, "batch slots"],
    targets: Int[Tensor, "batch slots"],
    scored: Bool[Tensor, "batch slots"],
    metric: PrimaryMetric,
) -> Float[Tensor, " batch"]:
    """Each example's score under the task's primary metric: what halting now is rewarded with.

    ``correct``: 1 where every scored slot is right, else 0. ``slots``: the share that is right.
    """
    if metric == "slots":
        return slot_accuracy(predicted, targets, scored)
    return ((predicted == targets) | ~scored).all(dim=1).float()


def move_costs(
    actions: Int[Tensor, " batch"], *, step_cost: float, expansion_penalty: float | Tensor
) -> Float[Tensor, " batch"]:
    """What going on costs: ``step_cost``, and the penalty too where the example expands.

    Args:
        actions: ``CONTINUE`` or ``EXPAND``.
        step_cost: score that a further step must gain to pay.
        expansion_penalty: the same of an expansion, annealed by the caller.
    """
    return step_cost + expansion_penalty * (actions == EXPAND).float()
