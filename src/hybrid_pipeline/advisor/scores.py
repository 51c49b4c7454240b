"""Whether validation curves turned down, still rise, or never rose, beyond their noise.

The runs of one arm and task are judged together: five validations of one run show little, those of
three seeds more. ``Pool`` says how the noise is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hybrid_pipeline.config import AdvisorConfig
from hybrid_pipeline.curves.curve import FloatArray, StabilityCurve, finite_median
from hybrid_pipeline.curves.metrics import MAD_TO_SD

MIN_NOISE_SD = 0.005  # if neither the curve nor its number of examples says more
LONG_CURVE = 10  # validations from which one run's second differences tell its noise
ALONE_FACTOR = 2.0  # times the binomial noise, for one run that cannot well show its own
POWER_Z = float(stats.norm.ppf(0.8))
LEARNED_Z = 2.0
CORRELATED = 1.5  # consecutive differences share a score: so many of them are worth one


@dataclass(frozen=True)
class ScoreChange:
    """A change of the mean validation score between two stretches of the curves.

    Attributes:
        before, after: mean scores of the two stretches.
        epoch: where the first stretch has its middle.
        num_runs: runs that the means are over.
    """

    before: float
    after: float
    epoch: float
    num_runs: int


@dataclass(frozen=True)
class Pool:
    """Validation scores of runs on one task.

    ``sd`` is the standard deviation of one score: the larger of the binomial one, from the number
    of examples, and a measured one. Runs of one arm or setting show their noise in what their steps
    from validation to validation do not share, which leaves out the bend of the curve. One run
    alone is given ``ALONE_FACTOR`` times the binomial noise, or what its typical second difference
    says (their variance is 6 of the noise's) where it has ``LONG_CURVE`` validations and that is
    more.

    Attributes:
        step: updates before each validation.
        scores: runs x validations, in [0, 1].
        sd: noise of one score; ``df``: degrees of freedom it is known with.
    """

    step: FloatArray
    scores: FloatArray
    sd: float
    df: float

    @property
    def width(self) -> int:
        """Validations of a stretch: a fifth of them."""
        return max(1, int(self.scores.shape[1]) // 5)

    def stretches(self) -> FloatArray:
        """Mean score of every stretch, over the runs."""
        kernel = np.ones(self.width) / self.width
        return np.convolve(self.scores.mean(axis=0), kernel, mode="valid")

    @property
    def error(self) -> float:
        """Standard error of the difference between two stretches that share no validation."""
        return self.sd * math.sqrt(2 / (self.width * len(self.scores)))

    def p_above_noise(self, change: float) -> float:
        """One-sided p of a change of the mean between two stretches."""
        z = change / self.error
        return float(stats.norm.sf(z) if math.isinf(self.df) else stats.t.sf(z, self.df))

    def visible(self, level: float) -> float:
        """The drop that is found at this level with a probability of 80 %."""
        level /= max(1, len(self.stretches()) - self.width)
        z = stats.norm.isf(level) if math.isinf(self.df) else stats.t.isf(level, self.df)
        return float((z + POWER_Z) * self.error)


def pool(curves: Sequence[StabilityCurve], task: str) -> Pool | None:
    """The runs' scores on a task; a run with fewer validations than another is left out."""
    known = [c for c in curves if task in c.validation and len(c.validation[task].score)]
    if not known:
        return None
    count = max(len(c.validation[task].score) for c in known)
    full = [c for c in known if len(c.validation[task].score) == count]
    scores = np.array([c.validation[task].score for c in full])
    sd, df = _noise(scores, [c.setting for c in full], full[0].num_validation)
    return Pool(full[0].validation[task].step, scores, sd, df)


def overfitting(
    curves: Sequence[StabilityCurve], task: str, config: AdvisorConfig
) -> ScoreChange | None:
    """The drop from the best stretch to the last one, while the training loss went on falling.

    The drop must reach ``min_drop`` and exceed the noise at ``level``, Bonferroni-corrected over
    the stretches that might have been best; the loss must fall in most of the runs.

    Returns:
        The drop and the epoch of the best stretch; None if there is none.
    """
    found = pool(curves, task)
    if found is None or found.scores.shape[1] < config.min_validations:
        return None
    means, width = found.stretches(), found.width
    candidates = means[: len(means) - width]  # those that share no validation with the last
    best = int(np.argmax(candidates))
    drop = float(candidates[best] - means[-1])
    p = len(candidates) * found.p_above_noise(drop)
    middle = float(np.mean(found.step[best : best + width]))
    fell = np.mean([_loss_fell(curve, middle) for curve in curves]) > 0.5
    if drop < config.min_drop or p >= config.level or not fell:
        return None
    return _change(float(candidates[best]), float(means[-1]), middle, found, curves)


def still_improving(
    curves: Sequence[StabilityCurve], task: str, config: AdvisorConfig
) -> ScoreChange | None:
    """The rise from the last stretch but one to the last, beyond ``min_gain`` and the noise.

    The median run must rise by ``min_gain`` too, so that one of many does not speak for all.
    """
    found = pool(curves, task)
    if found is None or found.scores.shape[1] < config.min_validations:
        return None
    width = found.width
    before = found.scores[:, -2 * width : -width].mean(axis=1)
    after = found.scores[:, -width:].mean(axis=1)
    rise = float(np.mean(after - before))
    enough = min(rise, float(np.median(after - before))) >= config.min_gain
    if not enough or found.p_above_noise(rise) >= config.level:
        return None
    middle = float(np.mean(found.step[-2 * width : -width]))
    return _change(float(before.mean()), float(after.mean()), middle, found, curves)


def unlearned(curves: Sequence[StabilityCurve], task: str) -> ScoreChange | None:
    """From the score of no learning to the last stretch, if the runs are not above it.

    Without a known baseline: from the first stretch to the last, where the score stayed and the
    training loss did not fall by a tenth. "Above" and "stayed" are by two standard errors.
    """
    found = pool(curves, task)
    if found is None:
        return None
    means, baseline = found.stretches(), curves[0].baseline
    if baseline is None:
        above = abs(float(means[-1] - means[0])) > LEARNED_Z * found.error or len(means) < 2
        above = above or any(_loss_share(curve) < 0.9 for curve in curves)
        baseline = float(means[0])
    else:
        above = float(means[-1]) - baseline > LEARNED_Z * found.error / math.sqrt(2)
    if above:
        return None
    return _change(baseline, float(means[-1]), float(found.step[-1]), found, curves)


def _change(
    before: float, after: float, step: float, found: Pool, curves: Sequence[StabilityCurve]
) -> ScoreChange:
    return ScoreChange(before, after, step / curves[0].steps_per_epoch, len(found.scores))


def _noise(
    scores: FloatArray, settings: Sequence[str], num_examples: int | None
) -> tuple[float, float]:
    """Standard deviation of one score and its degrees of freedom, as ``Pool`` says."""
    binomial = MIN_NOISE_SD
    if num_examples:
        share = min(max(float(np.mean(scores)), 1 / num_examples), 1 - 1 / num_examples)
        binomial = max(binomial, math.sqrt(share * (1 - share) / num_examples))
    if len(scores) > len(set(settings)):
        least, (measured, df) = binomial, _between_runs(scores, settings)
    elif num_examples and scores.shape[1] < LONG_CURVE:
        return ALONE_FACTOR * binomial, math.inf
    else:
        least, (measured, df) = ALONE_FACTOR * binomial, _second_differences(scores)
    return (least, math.inf) if least >= measured else (measured, df)


def _second_differences(scores: FloatArray) -> tuple[float, float]:
    second = np.diff(scores, n=2, axis=1)
    if not second.size:
        return 0.0, math.inf
    typical = float(np.median(np.abs(second)))  # the bend at the start of training is an outlier
    return MAD_TO_SD * typical / math.sqrt(6), max(1.0, second.size / 2)


def _between_runs(scores: FloatArray, settings: Sequence[str]) -> tuple[float, float]:
    """From what the steps of runs of one setting do not share, each with twice the variance."""
    names, steps = np.array(settings), np.diff(scores, axis=1)
    if not steps.size:
        return 0.0, math.inf
    total = sum(
        ((steps[names == name] - steps[names == name].mean(axis=0)) ** 2).sum()
        for name in set(settings)
    )
    df = (len(scores) - len(set(settings))) * steps.shape[1]
    return math.sqrt(float(total) / (2 * df)), max(1.0, df / CORRELATED)


def _loss_fell(curve: StabilityCurve, since: float) -> bool:
    tenth = max(1, curve.num_steps // 10)
    position = int(np.searchsorted(curve.step, since))
    around = curve.loss[max(0, position - tenth // 2) : position + tenth // 2 + 1]
    return finite_median(curve.loss[-tenth:]) < finite_median(around)


def _loss_share(curve: StabilityCurve) -> float:
    """Median loss of the last tenth over that of the first; 0 if there is none."""
    tenth = max(1, curve.num_steps // 10)
    first = finite_median(curve.loss[:tenth])
    return finite_median(curve.loss[-tenth:]) / first if 0 < first < math.inf else 0.0
