"""Intervals over seeds and examples, and the crossed bootstrap beside them.

The interval is a t interval for crossed random effects (seeds x examples) with Satterthwaite
degrees of freedom; the report calls it the two-component t. Models of several seeds answer the same
examples, so both are random, as subjects and items are in Clark ("The language-as-fixed-effect
fallacy", J. Verbal Learning and Verbal Behavior 12, 1973). The degrees of freedom are those of a
sum of mean squares in Satterthwaite ("An approximate distribution of estimates of variance
components", Biometrics Bulletin 2, 1946).

Arrays are [seed, example] per stratum; a stratum is a task, and figures over several tasks are the
mean over strata: the same seeds, examples of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from hybrid_pipeline.stats.results import Interval

_ZERO = 1e-24  # a variance below this is rounding of equal scores


@dataclass(frozen=True)
class Variance:
    """Variance of a mean over seeds and examples, both random and crossed.

    Attributes:
        mean: the estimate.
        seeds: Vs, the variance of the seed means over S.
        examples: Vi, the variance of the example means over N.
        residual: Vr, the residual variance of the two-way additive fit over S N.
        total: V = max(Vs + Vi - Vr, Vs, Vi); Vr if all means agree and the answers do not.
        df: Satterthwaite degrees of freedom.
        num_seeds: S.
        num_examples: N, summed over strata.
    """

    mean: float
    seeds: float
    examples: float
    residual: float
    total: float
    df: float
    num_seeds: int
    num_examples: int

    @property
    def is_zero(self) -> bool:
        """Whether all scores agree, up to rounding."""
        return self.total < _ZERO

    @property
    def paired_sd(self) -> float:
        """Standard deviation of the seed means."""
        return float(np.sqrt(self.seeds * self.num_seeds))

    @property
    def example_floor(self) -> float:
        """The part of the variance that more seeds do not remove."""
        return max(self.examples - self.residual, 0.0)

    @property
    def sd_over_seeds(self) -> float:
        """What more seeds reduce, per seed: sqrt(S (V - example floor)).

        It is ``paired_sd`` unless the seed means differ less than the residual makes them differ.
        """
        return float(np.sqrt(max(self.total - self.example_floor, 0.0) * self.num_seeds))

    def interval(self, level: float) -> Interval:
        """The t interval."""
        half = float(scipy_stats.t.ppf(0.5 + level / 2, self.df)) * float(np.sqrt(self.total))
        return Interval(
            estimate=self.mean, low=self.mean - half, high=self.mean + half, level=level
        )

    def p_greater(self, null: float) -> float:
        """One-sided p of mean > null."""
        if self.is_zero:
            return 1.0 if self.mean - null <= np.sqrt(_ZERO) else 0.0
        return float(scipy_stats.t.sf((self.mean - null) / np.sqrt(self.total), self.df))

    def p_two_sided(self) -> float:
        """Two-sided p of mean = 0."""
        if self.is_zero:
            return 1.0 if abs(self.mean) <= np.sqrt(_ZERO) else 0.0
        return float(2 * scipy_stats.t.sf(abs(self.mean) / np.sqrt(self.total), self.df))

    def p_seeds(self) -> float:
        """Two-sided p of the paired t test over seed means only, blind to examples."""
        if self.seeds < _ZERO:
            return self.p_two_sided()
        t = abs(self.mean) / np.sqrt(self.seeds)
        return float(2 * scipy_stats.t.sf(t, self.num_seeds - 1))


def variance_terms(d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, Vs, Vi and Vr of paired arrays, over any leading axes.

    Args:
        d: [..., seed, example] with at least two seeds; one example leaves Vi and Vr zero.
    """
    num_seeds, num_examples = d.shape[-2:]
    by_seed, by_example = d.mean(axis=-1), d.mean(axis=-2)
    mean = by_seed.mean(axis=-1)
    seeds = by_seed.var(axis=-1, ddof=1) / num_seeds
    if num_examples == 1:
        return mean, seeds, np.zeros_like(mean), np.zeros_like(mean)
    examples = by_example.var(axis=-1, ddof=1) / num_examples
    fit = by_seed[..., :, None] + by_example[..., None, :] - mean[..., None, None]
    dof = (num_seeds - 1) * (num_examples - 1)
    residual = ((d - fit) ** 2).sum(axis=(-2, -1)) / dof / (num_seeds * num_examples)
    return mean, seeds, examples, residual


def two_component(strata: Sequence[np.ndarray]) -> Variance:
    """The variance of the mean over strata, with seeds and examples as crossed random effects.

    With V = max(Vs + Vi - Vr, Vs, Vi) and df = V^2 / (Vs^2/(S-1) + sum Vi_k^2/(N_k-1)). If all
    seeds have one mean and all examples have one, both terms are 0 by accident of a small table;
    then the residual is the only measure of noise: V = Vr, df = V^2 / sum Vr_k^2/((S-1)(N_k-1)).

    Args:
        strata: [seed, example] arrays with the same seeds, at least two.

    Raises:
        ValueError: with fewer than two seeds.
    """
    num_seeds = strata[0].shape[0]
    if num_seeds < 2:
        raise ValueError("an interval over seeds needs at least two seeds")
    terms = np.array([variance_terms(d)[2:] for d in strata]) / len(strata) ** 2
    seed_means = np.mean([d.mean(axis=1) for d in strata], axis=0)
    seeds = float(seed_means.var(ddof=1) / num_seeds)
    examples, residual = (float(x) for x in terms.sum(axis=0))
    total = max(seeds + examples - residual, seeds, examples)
    example_dfs = np.array([max(d.shape[1] - 1, 1) for d in strata])
    spread = seeds**2 / (num_seeds - 1) + float((terms[:, 0] ** 2 / example_dfs).sum())
    if total < _ZERO:
        total = residual
        spread = float((terms[:, 1] ** 2 / example_dfs).sum()) / (num_seeds - 1)
    df = total**2 / spread if total >= _ZERO else float(num_seeds - 1)
    size = sum(d.shape[1] for d in strata)
    mean = float(seed_means.mean())
    return Variance(mean, seeds, examples, residual, total, df, num_seeds, size)


def crossed_bootstrap(
    strata: Sequence[np.ndarray], *, num_resamples: int, level: float, rng: np.random.Generator
) -> Interval:
    """Percentile interval that resamples seeds and examples; a sensitivity check.

    Overconfident with few seeds: see docs/explanation/statistics.md for its coverage.

    Args:
        strata: [seed, example] arrays with the same seeds.
        num_resamples: number of resamples.
        level: of the interval.
        rng: the generator; the same generator gives the same interval.
    """
    num_seeds = strata[0].shape[0]
    seed_weights = _weights(num_seeds, num_resamples, rng)
    means = np.zeros(num_resamples)
    for d in strata:
        for start in range(0, num_resamples, 250):
            block = seed_weights[start : start + 250]
            examples = _weights(d.shape[1], len(block), rng)
            means[start : start + 250] += ((block @ d) * examples).sum(axis=1)
    means /= len(strata)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    estimate = float(np.mean([d.mean() for d in strata]))
    return Interval(estimate=estimate, low=float(low), high=float(high), level=level)


def _weights(size: int, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.integers(size, size=(num_resamples, size))
    drawn += np.arange(num_resamples)[:, None] * size
    counts = np.bincount(drawn.ravel(), minlength=num_resamples * size)
    return counts.reshape(num_resamples, size) / size
