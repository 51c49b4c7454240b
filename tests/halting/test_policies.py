"""Policies over recorded steps: by hand, and against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hybrid_pipeline.halting import (
    best_fixed_depth,
    compare_policies,
    fixed_depths,
    greedy_depths,
    oracle_depths,
    policy_result,
    random_depths,
)

SCORE = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])


def q_that_halts_at(depths: list[int], num_steps: int, num_actions: int = 2) -> np.ndarray:
    q = np.zeros((len(depths), num_steps, num_actions))
    q[..., 1] = 1.0
    for example, depth in enumerate(depths):
        q[example, depth - 1, 0] = 2.0
    return q


def test_oracle_by_hand():
    assert oracle_depths(SCORE, step_cost=0.01).tolist() == [1, 2, 1, 3]
    assert oracle_depths(SCORE, step_cost=0.6).tolist() == [1, 2, 1, 1]  # depth 3 costs 1.2
    assert oracle_depths(SCORE, step_cost=0.01, min_steps=2).tolist() == [2, 2, 3, 3]


def test_greedy_halts_at_the_first_legal_step_that_prefers_it():
    q = q_that_halts_at([1, 2, 3, 1], 3)
    assert greedy_depths(q).tolist() == [1, 2, 3, 1]
    assert greedy_depths(q, min_steps=2).tolist() == [3, 2, 3, 3]
    assert greedy_depths(np.zeros((2, 3, 3))).tolist() == [1, 1]  # equal values: halt
    never = np.broadcast_to([0.0, 0.0, 1.0], (2, 3, 3))
    assert greedy_depths(never).tolist() == [3, 3]  # forced at the bound


def test_policy_result_by_hand():
    result = policy_result("p", SCORE, np.array([1, 2, 2, 3]), step_cost=0.1)
    assert result.accuracy == 0.75
    assert result.steps_mean == 2.0
    assert result.value == pytest.approx(0.75 - 0.1)
    with pytest.raises(ValueError, match="outside 1 to 3"):
        policy_result("p", SCORE, np.array([1, 2, 4, 3]), step_cost=0.1)


def test_best_fixed_depth_weighs_the_cost():
    assert best_fixed_depth(SCORE, step_cost=0.0) == 3
    assert best_fixed_depth(SCORE, step_cost=0.3) == 1
    assert fixed_depths(3, 2).tolist() == [2, 2, 2]


@pytest.mark.parametrize("min_steps", [1, 3, 9])
def test_random_depths_are_uniform_over_the_legal(min_steps):
    depths = random_depths(4_000, 4, np.random.default_rng(0), min_steps)
    first = min(min_steps, 4)
    counts = np.bincount(depths, minlength=5)
    assert counts[:first].sum() == 0
    if first == 4:
        assert counts[4] == 4_000
    else:
        assert stats.chisquare(counts[first:]).pvalue > 0.01


def test_no_policy_beats_the_oracle():
    rng = np.random.default_rng(0)
    score, q = rng.random((200, 4)), rng.normal(size=(200, 4, 3))
    results = {r.name: r for r in compare_policies(score, q, step_cost=0.05, rng=rng)}
    assert list(results) == ["dqn", "fixed_1", "fixed_2", "fixed_3", "fixed_4", "random", "oracle"]
    assert [r.name for r in results.values() if r.reads_labels] == ["oracle"]
    assert max(results.values(), key=lambda r: r.value).name == "oracle"
    best = best_fixed_depth(score, 0.05)
    fixed = [results[f"fixed_{d}"].value for d in range(1, 5)]
    assert fixed[best - 1] == max(fixed)
