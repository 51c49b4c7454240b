"""Linear contrasts of arms on the difference, log and logit scales, as paired arrays.

Every figure of the study is such a contrast: a stage's gain (+1, -1), a ratio, a Shapley share, an
interaction. On the log and logit scales the array of an arm is its influence, centred so that the
mean over the array is the contrast of the transformed means (delta method; for the log it is
Y / mean(Y) of STATISTICS, two-component t).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_pipeline.stats.intervals import Variance, two_component
from hybrid_pipeline.stats.results import Interval, Scale
from hybrid_pipeline.stats.scores import ScoreMatrix

MIN_SEEDS = 3
_WIDEST = float(np.log(1000))
Weights = Mapping[str, float]
"""Arm -> weight of the contrast."""


def complete_seeds(matrix: ScoreMatrix, arms: Sequence[str], tasks: Sequence[str]) -> list[int]:
    """The seeds with a cell in all these arms and tasks."""
    mask = matrix.present(arms, tasks)
    return [seed for seed, here in zip(matrix.seeds, mask, strict=True) if here]


def same_scores(matrix: ScoreMatrix, arms: Sequence[str], tasks: Sequence[str]) -> bool:
    """Whether these arms have equal scores on every example of every complete seed.

    Then nothing tells them apart, and there is no noise to judge a difference by.
    """
    mask = matrix.present(arms, tasks)
    return bool(mask.any()) and all(
        np.array_equal(matrix.values[arm, task][mask], matrix.values[arms[0], task][mask])
        for arm in arms
        for task in tasks
    )


def contrast_arrays(
    matrix: ScoreMatrix, weights: Weights, tasks: Sequence[str], scale: Scale = "difference"
) -> list[np.ndarray] | None:
    """The paired arrays [seed, example] of a contrast, one per task, on complete seeds.

    Returns:
        ``None`` if no seed is complete, or a mean of 0 (log) or of 0 or 1 (logit) leaves the
        scale undefined.
    """
    used = {arm: weight for arm, weight in weights.items() if weight}
    mask = matrix.present(used, tasks)
    if not mask.any():
        return None
    strata = []
    for task in tasks:
        parts = [
            _influence(matrix.values[arm, task][mask], weight, scale)
            for arm, weight in used.items()
        ]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        strata.append(np.sum(known, axis=0))
    return strata


def _influence(values: np.ndarray, weight: float, scale: Scale) -> np.ndarray | None:
    if scale == "difference":
        return weight * values
    mean = values.mean()
    if mean <= 0 or (scale == "logit" and mean >= 1):
        return None
    if scale == "log":
        return np.asarray(weight * (np.log(mean) + values / mean - 1))
    slope = mean * (1 - mean)
    return np.asarray(weight * (np.log(mean / (1 - mean)) + (values - mean) / slope))


def contrast_variance(
    matrix: ScoreMatrix, weights: Weights, tasks: Sequence[str], scale: Scale = "difference"
) -> Variance | None:
    """Estimate and two-component variance of a contrast, averaged over tasks.

    Returns:
        ``None`` if the scale is undefined, fewer than three seeds are complete, or the contrast
        is of two arms with the same scores.
    """
    if sorted(weights.values()) == [-1.0, 1.0] and same_scores(matrix, [*weights], tasks):
        return None
    strata = contrast_arrays(matrix, weights, tasks, scale)
    if strata is None or strata[0].shape[0] < MIN_SEEDS:
        return None
    return two_component(strata)


def contrast_interval(
    matrix: ScoreMatrix,
    weights: Weights,
    tasks: Sequence[str],
    scale: Scale = "difference",
    *,
    level: float,
) -> Interval | None:
    """Two-component t interval of a contrast; ``None`` if ``contrast_variance`` is."""
    variance = contrast_variance(matrix, weights, tasks, scale)
    return None if variance is None else variance.interval(level)


def exponentiate(interval: Interval | None, *, minus_one: bool = False) -> Interval | None:
    """A log interval as a ratio, or as a relative gain.

    Returns:
        ``None`` without an interval, and if an end is beyond a factor of 1,000: then a baseline
        near 0 leaves the ratio meaningless.
    """
    if interval is None or max(-interval.low, interval.high) > _WIDEST:
        return None
    shift = 1.0 if minus_one else 0.0
    low, estimate, high = (
        float(np.exp(x)) - shift for x in (interval.low, interval.estimate, interval.high)
    )
    return Interval(estimate=estimate, low=low, high=high, level=interval.level)
