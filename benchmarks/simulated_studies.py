"""Simulated studies: does an interval cover, does a procedure keep its error rate?

Two arms answer the same examples; no arm is better. A seed shifts an arm's accuracy (sd
``seed_sd``), an example is easier for one arm than for the other (sd ``example_sd``), and every
answer is a coin with the resulting probability. By symmetry the true difference is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from hybrid_pipeline.stats.intervals import variance_terms

Limits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Design:
    """A simulated study.

    Attributes:
        num_seeds: S.
        num_examples: N.
        seed_sd: sd of the accuracy of one arm over seeds; .002 is little, .06 is much.
        example_sd: sd over examples of what one arm finds easier.
    """

    num_seeds: int
    num_examples: int = 300
    seed_sd: float = 0.06
    example_sd: float = 0.1


def simulate_arms(
    design: Design, num_studies: int, num_arms: int, rng: np.random.Generator
) -> np.ndarray:
    """Answers 0 or 1, float32 [study, arm, seed, example], of arms that do not differ."""
    shape = (num_studies, num_arms, design.num_seeds, design.num_examples)
    seeds = rng.normal(0.0, design.seed_sd, (*shape[:3], 1))
    difficulty = rng.normal(0.0, design.example_sd, (num_studies, 1, 1, design.num_examples))
    taste = rng.normal(0.0, design.example_sd, (num_studies, num_arms, 1, design.num_examples))
    chance = np.clip(0.5 + seeds + difficulty + taste, 0.0, 1.0)
    return (rng.random(shape, dtype=np.float32) < chance).astype(np.float32)


def two_component_limits(d: np.ndarray, level: float = 0.95) -> Limits:
    """The primary interval of many studies: arrays [study, seed, example] -> [study]."""
    mean, vs, vi, vr = variance_terms(d.astype(np.float64))
    num_seeds, num_examples = d.shape[-2:]
    total = np.maximum(np.maximum(vs + vi - vr, vs), vi)
    df = total**2 / (vs**2 / (num_seeds - 1) + vi**2 / (num_examples - 1))
    half = scipy_stats.t.ppf(0.5 + level / 2, df) * np.sqrt(total)
    return mean - half, mean + half


def paired_t_limits(d: np.ndarray, level: float = 0.95) -> Limits:
    """The paired t interval over seed means, blind to examples."""
    means = d.mean(axis=-1)
    num_seeds = d.shape[-2]
    half = scipy_stats.t.ppf(0.5 + level / 2, num_seeds - 1) * np.sqrt(
        means.var(axis=-1, ddof=1) / num_seeds
    )
    return means.mean(axis=-1) - half, means.mean(axis=-1) + half


def examples_only_limits(d: np.ndarray, level: float = 0.95) -> Limits:
    """A normal interval over examples alone, as McNemar's test sees them."""
    by_example = d.mean(axis=-2)
    half = scipy_stats.norm.ppf(0.5 + level / 2) * np.sqrt(
        by_example.var(axis=-1, ddof=1) / d.shape[-1]
    )
    return by_example.mean(axis=-1) - half, by_example.mean(axis=-1) + half


def percentile_bootstrap_limits(
    d: np.ndarray, level: float = 0.95, *, num_resamples: int = 1000, seed: int = 0
) -> Limits:
    """The percentile bootstrap over seeds; the resamples are shared by the studies."""
    num_seeds = d.shape[-2]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), num_resamples)
    resampled = d.mean(axis=-1) @ (weights.T / num_seeds)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return low, high


METHODS: Mapping[str, Callable[[np.ndarray], Limits]] = {
    "two-component t": two_component_limits,
    "paired t over seeds": paired_t_limits,
    "percentile bootstrap over seeds": percentile_bootstrap_limits,
    "examples only": examples_only_limits,
}


def coverage(
    design: Design, num_studies: int, rng: np.random.Generator, chunk: int = 100
) -> dict[str, float]:
    """The share of studies whose 95 % interval contains the true difference, by method."""
    hits = dict.fromkeys(METHODS, 0)
    for start in range(0, num_studies, chunk):
        size = min(chunk, num_studies - start)
        arms = simulate_arms(design, size, 2, rng)
        for name, method in METHODS.items():
            low, high = method(arms[:, 1] - arms[:, 0])
            hits[name] += int(((low <= 0) & (high >= 0)).sum())
    return {name: count / num_studies for name, count in hits.items()}


def p_values(d: np.ndarray) -> np.ndarray:
    """Two-sided p of the two-component t, arrays [study, seed, example] -> [study]."""
    mean, vs, vi, vr = variance_terms(d.astype(np.float64))
    total = np.maximum(np.maximum(vs + vi - vr, vs), vi)
    df = total**2 / (vs**2 / (d.shape[-2] - 1) + vi**2 / (d.shape[-1] - 1))
    return np.asarray(2 * scipy_stats.t.sf(np.abs(mean) / np.sqrt(total), df))


def family_wise_error(
    design: Design, num_studies: int, rng: np.random.Generator, alpha: float = 0.05
) -> float:
    """The share of five-arm studies in which Holm rejects any of four true null stages.

    Holm rejects something exactly where the smallest p is below alpha over the number of tests.
    """
    arms = simulate_arms(design, num_studies, 5, rng)
    smallest = np.min([p_values(arms[:, i + 1] - arms[:, i]) for i in range(4)], axis=0)
    return float((smallest < alpha / 4).mean())


def ladder_error(
    looks: Sequence[int],
    nominal: float,
    num_studies: int,
    rng: np.random.Generator,
) -> float:
    """The share of null studies that a paired t test, looked at repeatedly, ever calls an effect.

    Seed means are normal, the limit of many examples.
    """
    means = rng.normal(size=(num_studies, max(looks)))
    rejected = np.zeros(num_studies, dtype=bool)
    for look in looks:
        seen = means[:, :look]
        t = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / np.sqrt(look))
        rejected |= 2 * scipy_stats.t.sf(np.abs(t), look - 1) < nominal
    return float(rejected.mean())
