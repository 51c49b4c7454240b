"""What the policy may do after a supervision step.

``HALT`` keeps the answer of this step, ``CONTINUE`` takes another supervision step, ``EXPAND``
plans again (COCONUT) and then takes another step. Steps count from 1; a state is seen after its
step.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

HALT, CONTINUE, EXPAND = 0, 1, 2
ACTION_NAMES = ("halt", "continue", "expand")


def num_actions(*, can_expand: bool) -> int:
    """2 (halt, continue), or 3 where the arm plans and so can expand."""
    return 3 if can_expand else 2


def legal_actions(
    step: int | Int[Tensor, " batch"],
    *,
    min_steps: int,
    max_steps: int,
    num_actions: int,
    batch_size: int | None = None,
) -> Bool[Tensor, "batch actions"]:
    """Which actions are legal after a step.

    Halting is legal from ``min_steps`` on (2 makes the first continue mandatory); at ``max_steps``
    nothing else is, whatever ``min_steps`` says.

    Args:
        step: supervision steps taken so far, from 1; one number for all needs ``batch_size``.
        min_steps: the first step after which an example may halt.
        max_steps: the bound at which it must.
        num_actions: 2 or 3.
        batch_size: number of rows when ``step`` is one number.

    Raises:
        ValueError: when a single ``step`` comes without ``batch_size``.
    """
    if isinstance(step, int):
        if batch_size is None:
            raise ValueError("one step for all examples needs batch_size")
        step = torch.full((batch_size,), step)
    last = step >= max_steps
    legal = (~last)[:, None].repeat(1, num_actions)
    legal[:, HALT] = last | (step >= min_steps)
    return legal
