"""Policies compared after training: which depth each example halts at.

All read arrays recorded along one full-depth evaluation: ``score`` [examples, steps] (share of
slots right, or 0/1, after each step) and ``q`` [examples, steps, actions]. Depths count from 1.
Only ``oracle`` reads the labels to choose, so it is an optimistic bound and no policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hybrid_pipeline.halting.actions import HALT

Depths = Int[np.ndarray, " examples"]
Scores = Float[np.ndarray, "examples steps"]


@dataclass(frozen=True)
class PolicyResult:
    """A policy's outcome on a set of examples.

    Attributes:
        name: the policy.
        accuracy: mean score at the chosen depth.
        steps_mean: mean supervision steps.
        value: mean of score - step_cost (steps - 1), what the DQN maximises.
        reads_labels: the policy is an optimistic bound.
    """

    name: str
    accuracy: float
    steps_mean: float
    value: float
    reads_labels: bool = False


def fixed_depths(num_examples: int, depth: int) -> Depths:
    """The same depth for all."""
    return np.full(num_examples, depth, dtype=np.int64)


def best_fixed_depth(score: Scores, step_cost: float) -> int:
    """The fixed depth of highest mean value; the shallowest of equals. Choose on validation."""
    values = score.mean(axis=0) - step_cost * np.arange(score.shape[1])
    return int(values.argmax()) + 1


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


def greedy_depths(q: Float[np.ndarray, "examples steps actions"], min_steps: int = 1) -> Depths:
    """The first legal step whose best action is to halt; the last where there is none.

    At equal values it halts, as the agent does.
    """
    halts = q.argmax(axis=2) == HALT
    halts[:, : min_steps - 1] = False
    halts[:, -1] = True
    depths: Depths = halts.argmax(axis=1) + 1
    return depths


def policy_result(
    name: str, score: Scores, depths: Depths, step_cost: float, *, reads_labels: bool = False
) -> PolicyResult:
    """Score a policy's depths.

    Raises:
        ValueError: when a depth lies outside 1 to the number of steps.
    """
    num_steps = score.shape[1]
    if depths.min() < 1 or depths.max() > num_steps:
        raise ValueError(f"{name} chose a depth outside 1 to {num_steps}")
    chosen = np.take_along_axis(score, depths[:, None] - 1, axis=1)[:, 0]
    value = float((chosen - step_cost * (depths - 1)).mean())
    return PolicyResult(name, float(chosen.mean()), float(depths.mean()), value, reads_labels)


def compare_policies(
    score: Scores,
    q: Float[np.ndarray, "examples steps actions"],
    *,
    step_cost: float,
    rng: np.random.Generator,
    min_steps: int = 1,
) -> tuple[PolicyResult, ...]:
    """The DQN beside every fixed depth, the random and the (label-reading) oracle policy."""
    num_examples, num_steps = score.shape
    fixed = (
        policy_result(f"fixed_{d}", score, fixed_depths(num_examples, d), step_cost)
        for d in range(1, num_steps + 1)
    )
    drawn = random_depths(num_examples, num_steps, rng, min_steps)
    best = oracle_depths(score, step_cost, min_steps)
    return (
        policy_result("dqn", score, greedy_depths(q, min_steps), step_cost),
        *fixed,
        policy_result("random", score, drawn, step_cost),
        policy_result("oracle", score, best, step_cost, reads_labels=True),
    )
