"""Whether a validation curve has turned down, or still rises, beyond its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hybrid_pipeline.config import AdvisorConfig
from hybrid_pipeline.review.curves import FloatArray, StabilityCurve, Validation

MIN_NOISE_SD = 0.005  # where neither the curve nor its number of examples says more


@dataclass(frozen=True)
class ScoreChange:
    """A change of the validation score between two stretches of a curve.

    Attributes:
        before, after: mean scores of the two stretches.
        epoch: where the first stretch has its middle.
    """

    before: float
    after: float
    epoch: float


@dataclass(frozen=True)
class _Noise:
    sd: float
    df: float


def overfitting(curve: StabilityCurve, task: str, config: AdvisorConfig) -> ScoreChange | None:
    """The drop from the best stretch to the last one, while the training loss went on falling.

    A stretch is a fifth of the validations. The drop must reach ``min_drop`` and exceed the noise
    at ``level``, Bonferroni-corrected over the stretches that might have been best.

    Returns:
        The drop and the epoch of the best stretch; None where there is none.
    """
    validation = curve.validation[task]
    count = len(validation.score)
    if count < config.min_validations:
        return None
    width = max(1, count // 5)
    means = np.convolve(validation.score, np.ones(width) / width, mode="valid")
    candidates = means[: len(means) - width]  # those that share no validation with the last
    best = int(np.argmax(candidates))
    drop = float(candidates[best] - means[-1])
    p = len(candidates) * _p_above_noise(drop, width, _noise(validation, curve.num_validation))
    middle = float(np.mean(validation.step[best : best + width]))
    if drop < config.min_drop or p >= config.level or not _loss_fell(curve, middle):
        return None
    return ScoreChange(float(candidates[best]), float(means[-1]), middle / curve.steps_per_epoch)


def still_improving(curve: StabilityCurve, task: str, config: AdvisorConfig) -> ScoreChange | None:
    """The rise from the last stretch but one to the last, beyond ``min_gain`` and the noise."""
    validation = curve.validation[task]
    count = len(validation.score)
    if count < config.min_validations:
        return None
    width = max(1, count // 5)
    before = float(np.mean(validation.score[-2 * width : -width]))
    after = float(np.mean(validation.score[-width:]))
    p = _p_above_noise(after - before, width, _noise(validation, curve.num_validation))
    if after - before < config.min_gain or p >= config.level:
        return None
    middle = float(np.mean(validation.step[-2 * width : -width]))
    return ScoreChange(before, after, middle / curve.steps_per_epoch)


def _noise(validation: Validation, num_examples: int | None) -> _Noise:
    """Standard deviation of one validation score.

    The larger of two: from second differences (a straight trend drops out; their variance is 6 of
    the noise's), with t-distributed uncertainty; and binomial, from the number of examples.
    """
    score = validation.score
    second = np.diff(score, n=2)
    measured = float(np.sqrt(np.mean(second**2) / 6)) if len(second) else 0.0
    binomial = MIN_NOISE_SD
    if num_examples:
        share = min(max(float(np.mean(score)), 1 / num_examples), 1 - 1 / num_examples)
        binomial = max(binomial, math.sqrt(share * (1 - share) / num_examples))
    if binomial >= measured:
        return _Noise(binomial, math.inf)
    return _Noise(measured, max(1.0, len(second) / 2))


def _p_above_noise(change: float, width: int, noise: _Noise) -> float:
    z = change / (noise.sd * math.sqrt(2 / width))
    return float(stats.norm.sf(z) if math.isinf(noise.df) else stats.t.sf(z, noise.df))


def _loss_fell(curve: StabilityCurve, since: float) -> bool:
    tenth = max(1, curve.num_steps // 10)
    position = int(np.searchsorted(curve.step, since))
    around = curve.loss[max(0, position - tenth // 2) : position + tenth // 2 + 1]
    return _median(curve.loss[-tenth:]) < _median(around)


def _median(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.inf
