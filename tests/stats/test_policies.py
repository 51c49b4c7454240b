"""Policies over recorded steps: by hand, and against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from hybrid_pipeline.stats.policies import fixed_depths, oracle_depths, random_depths, scores_at

SCORE = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])


def test_oracle_by_hand():
    assert oracle_depths(SCORE, step_cost=0.01).tolist() == [1, 2, 1, 3]
    assert oracle_depths(SCORE, step_cost=0.6).tolist() == [1, 2, 1, 1]  # depth 3 costs 1.2
    assert oracle_depths(SCORE, step_cost=0.01, min_steps=2).tolist() == [2, 2, 3, 3]


def test_scores_at_by_hand():
    assert scores_at(SCORE, np.array([1, 2, 2, 3])).tolist() == [1.0, 1.0, 0.0, 1.0]
    assert scores_at(SCORE, fixed_depths(4, 3)).tolist() == [1.0, 1.0, 0.5, 1.0]
    with pytest.raises(ValueError, match="outside 1 to 3"):
        scores_at(SCORE, np.array([1, 2, 4, 3]))


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


def test_no_choice_of_depths_beats_the_oracle():
    score = np.random.default_rng(0).random((4, 3))
    cost = 0.05

    def value(depths: np.ndarray) -> float:
        return float((scores_at(score, depths) - cost * (depths - 1)).mean())

    best = max(value(np.array(depths)) for depths in product((1, 2, 3), repeat=4))
    assert value(oracle_depths(score, cost)) == pytest.approx(best)
