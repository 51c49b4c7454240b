"""Which depth each example halts at, under policies that are set beside the DQN.

All read ``score`` [examples, steps], recorded along one full-depth evaluation: the share of slots
that are right, or 0 and 1, after each step. Depths count from 1. Only the oracle reads the labels
to choose, so it is an optimistic bound and no policy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

DQN, RANDOM, ORACLE = "dqn", "random", "oracle"
KEYS = ["arm", "seed", "task", "example", "policy"]
COLUMNS = [*KEYS, "score", "steps"]
Depths = Int[np.ndarray, " examples"]
Scores = Float[np.ndarray, "examples steps"]


def fixed_depths(num_examples: int, depth: int) -> Depths:
    """The same depth for all."""
    return np.full(num_examples, depth, dtype=np.int64)


def random_depths(
    num_examples: int, num_steps: int, rng: np.random.Generator, min_steps: int = 1
) -> Depths:
    """Uniform over the legal depths, whatever the state."""
    return rng.integers(min(min_steps, num_steps), num_steps + 1, size=num_examples)


def oracle_depths(score: Scores, step_cost: float, min_steps: int = 1) -> Depths:
    """The depth of highest score - cost per example, the shallowest of equals; reads the labels."""
    values = score - step_cost * np.arange(score.shape[1])
    first = min(min_steps, score.shape[1]) - 1
    depths: Depths = values[:, first:].argmax(axis=1) + first + 1
    return depths


def scores_at(score: Scores, depths: Depths) -> Float[np.ndarray, " examples"]:
    """Each example's score at its own depth.

    Raises:
        ValueError: when a depth lies outside 1 to the number of steps.
    """
    num_steps = score.shape[1]
    if depths.min() < 1 or depths.max() > num_steps:
        raise ValueError(
            f"a depth from {depths.min()} to {depths.max()} is outside 1 to {num_steps}"
        )
    chosen: Float[np.ndarray, " examples"] = np.take_along_axis(score, depths[:, None] - 1, axis=1)
    return chosen[:, 0]


def policy_frame(
    score: Scores,
    halted_score: np.ndarray,
    halted_at: np.ndarray,
    *,
    step_cost: float,
    min_steps: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Scores and steps of the DQN, every fixed depth, a random depth and the oracle.

    Args:
        score: [examples, steps], of the answer at each depth, planning in every step.
        halted_score: [examples], of the answer at which the DQN halts on its own path.
        halted_at: [examples], the step of that answer, from 1.
        step_cost: what a further step costs the oracle, in units of the score.
        min_steps: the first step at which the random policy and the oracle may halt.
        rng: draws the random depths.

    Returns:
        Columns ``row`` (index of the example), ``policy``, ``score``, ``steps``; policies in order.
    """
    num_examples, num_steps = score.shape
    depths = {f"fixed_{d}": fixed_depths(num_examples, d) for d in range(1, num_steps + 1)}
    depths[RANDOM] = random_depths(num_examples, num_steps, rng, min_steps)
    depths[ORACLE] = oracle_depths(score, step_cost, min_steps)
    parts = [(DQN, halted_score, halted_at)]
    parts += [(name, scores_at(score, chosen), chosen) for name, chosen in depths.items()]
    row = np.arange(num_examples)
    return pd.concat(
        [
            pd.DataFrame({"row": row, "policy": name, "score": found, "steps": steps})
            for name, found, steps in parts
        ],
        ignore_index=True,
    )
