"""What a study could have found: minimum detectable effects and seeds needed.

Neither looks at the observed effect. The noise is that of the interval: with many examples it is
the paired standard deviation over seeds, and ``mde80`` gives its textbook values; with few
examples their share of the variance stays however many seeds are run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from statsmodels.stats.power import TTestPower

from hybrid_pipeline.stats.intervals import Variance

POWER = 0.8
MAX_SEEDS = 10_000


@lru_cache(maxsize=4096)
def detectable_ratio(df: float, alpha: float = 0.05) -> float:
    """Effect over its standard error that a two-sided t test finds with 80 % power."""
    low, high = 1.0, 2.0
    while _power(high, df, alpha) < POWER:
        low, high = high, high * 1.25
    return float(brentq(lambda ratio: _power(ratio, df, alpha) - POWER, low, high, xtol=1e-6))


def _power(ratio: float, df: float, alpha: float) -> float:
    """Power in the right direction; the wrong one adds less than 1e-4 at 80 % power."""
    tail = TTestPower().power(ratio, nobs=1, alpha=alpha / 2, df=df, alternative="larger")
    return float(tail)


def mde80(sd: float, num_seeds: int, alpha: float = 0.05) -> float:
    """Smallest effect found with 80 % power by a paired t test over seeds, in units of ``sd``."""
    return detectable_ratio(float(num_seeds - 1), alpha) * sd / float(np.sqrt(num_seeds))


def seeds_needed(effect: float, sd: float, alpha: float = 0.05) -> int | None:
    """Seeds that find ``effect`` with 80 % power at a paired standard deviation ``sd``."""
    return _search_seeds(effect, sd, 0.0, 1.0, alpha)


def study_mde80(variance: Variance, alpha: float) -> float:
    """Smallest effect that the measured noise, seeds and examples, lets 80 % of studies find."""
    if variance.is_zero:
        return 0.0
    return detectable_ratio(round(variance.df, 3), alpha) * float(np.sqrt(variance.total))


def study_seeds_needed(effect: float, variance: Variance, alpha: float) -> int | None:
    """Seeds that find ``effect`` at the measured noise; ``None`` if examples are too few."""
    if variance.is_zero:
        return 2
    example_df = float(max(variance.num_examples - 1, 1))
    return _search_seeds(effect, variance.sd_over_seeds, variance.example_floor, example_df, alpha)


def _search_seeds(
    effect: float, sd: float, floor: float, example_df: float, alpha: float
) -> int | None:
    low, high = 2, 4
    while not _finds(effect, sd, floor, example_df, alpha, high):
        low, high = high, high * 2
        if high > MAX_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        if _finds(effect, sd, floor, example_df, alpha, middle):
            high = middle
        else:
            low = middle + 1
    return low


def _finds(
    effect: float, sd: float, floor: float, example_df: float, alpha: float, num_seeds: int
) -> bool:
    return effect >= _mde_at(sd, floor, example_df, alpha, num_seeds)


def _mde_at(sd: float, floor: float, example_df: float, alpha: float, num_seeds: int) -> float:
    by_seed = sd**2 / num_seeds
    total = by_seed + floor
    df = total**2 / (by_seed**2 / (num_seeds - 1) + floor**2 / example_df)
    return detectable_ratio(round(df, 3), alpha) * float(np.sqrt(total))


def upper_sd(sd: float, num_seeds: int, confidence: float = 0.8) -> float:
    """One-sided upper bound of a standard deviation estimated from a pilot (Browne 1995)."""
    df = num_seeds - 1
    return sd * float(np.sqrt(df / chi2.ppf(1 - confidence, df)))


def projected_mde80(variance: Variance, num_seeds: int, alpha: float) -> float:
    """Smallest effect found with 80 % power if ``num_seeds`` were run at the measured noise."""
    if variance.is_zero:
        return 0.0
    return _mde_at(
        variance.sd_over_seeds,
        variance.example_floor,
        float(max(variance.num_examples - 1, 1)),
        alpha,
        num_seeds,
    )
