"""Effects of the bundled changes: paired by seed, with a t interval and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats
from scipy.stats import CensoredData
from statsmodels.stats.proportion import proportion_confint

from hybrid_pipeline.curves.metrics import RunMetrics
from hybrid_pipeline.stability.design import Setting
from hybrid_pipeline.stats.multiplicity import holm

Response = Callable[[RunMetrics], float | None]


def _log(name: str) -> Response:
    def response(run: RunMetrics) -> float | None:
        norm = getattr(run, name)
        return math.log10(norm) if norm else None

    return response


def _percent_of(name: str) -> Response:
    def response(run: RunMetrics) -> float | None:
        share = getattr(run, name)
        return None if share is None else 100 * share

    return response


RESPONSES: Mapping[str, Response] = {
    "loss spikes, % of updates": _percent_of("spike_share"),
    "early loss spikes, % of updates": _percent_of("early_spike_share"),
    "non-finite, % of updates": lambda run: 100 * run.non_finite_steps / max(1, run.num_steps),
    "gradient norm p99, log10": _log("grad_p99"),
    "gradient norm p99 after the warm-up, log10": _log("settled_p99"),
    "largest Q-value": lambda run: run.largest_q,
    "largest Q-value minus final score": lambda run: run.q_excess,
    "final score, points": _percent_of("final"),
}
SPIKES, EARLY_SPIKES, _, NORM, SETTLED_NORM, LARGEST_Q, Q_EXCESS, FINAL = RESPONSES
MAX_ASSIGNMENTS = 20_000  # of runs to groups; beyond, as many are drawn


@dataclass(frozen=True)
class PairedEffect:
    """A difference within seeds, corrected minus original.

    Attributes:
        name: factor, pair of factors, or ``corrected - original``.
        response: a key of ``RESPONSES``.
        estimate, low, high: mean over seeds and its t interval; the interval is None below 2 seeds
            and if every seed gives the same difference, which has no spread to judge by.
        p: two-sided; None if the same difference, other than 0, stands in every seed.
        p_adjusted: the same, corrected over the four factors of one response.
        num_seeds: seeds with every run it needs; ``missing``: those without.
    """

    name: str
    response: str
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    num_seeds: int
    missing: tuple[int, ...] = ()
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Rate:
    """Diverged runs of a setting with the Clopper-Pearson interval."""

    count: int
    total: int
    low: float
    high: float


def divergence_rate(runs: Sequence[RunMetrics], level: float) -> Rate:
    """Share of diverged runs; exact interval (Clopper and Pearson 1934).

    Raises:
        ValueError: without a run.
    """
    if not runs:
        raise ValueError("no run to count")
    count = sum(bool(run.diverged) for run in runs)
    low, high = proportion_confint(count, len(runs), alpha=1 - level, method="beta")
    return Rate(count, len(runs), float(low), float(high))


def main_effects(
    runs: Sequence[RunMetrics], settings: Sequence[Setting], response: str, level: float
) -> tuple[PairedEffect, ...]:
    """Main effects of the four factors in the fraction: mean at corrected minus at original.

    Each seed gives one contrast over its eight runs, so the seeds are the replicates. Aliased
    only with three-factor interactions (resolution IV).

    Args:
        runs: metrics of all runs of one task.
        settings: the study's settings; those of the fraction are used.
        response: a key of ``RESPONSES``.
        level: of the interval.
    """
    fraction = [s for s in settings if s.in_fraction]
    if not fraction:
        return ()
    effects = [
        _contrast(factor, runs, {s.name: s.levels[factor] for s in fraction}, response, level)
        for factor in fraction[0].levels
    ]
    adjusted = holm([effect.p for effect in effects])
    return tuple(replace(e, p_adjusted=p) for e, p in zip(effects, adjusted, strict=True))


def interactions(
    runs: Sequence[RunMetrics], settings: Sequence[Setting], response: str, level: float
) -> tuple[PairedEffect, ...]:
    """The three estimable sums of two-factor interactions, such as AB + CD."""
    fraction = [s for s in settings if s.in_fraction]
    if not fraction:
        return ()
    factors = list(fraction[0].levels)
    found = []
    for pair in combinations(factors, 2):
        if factors[0] not in pair:
            continue
        rest = [f for f in factors if f not in pair]
        signs = {s.name: s.levels[pair[0]] * s.levels[pair[1]] for s in fraction}
        name = f"{' x '.join(pair)} with {' x '.join(rest)}"
        found.append(_contrast(name, runs, signs, response, level))
    return tuple(found)


def paired_difference(
    runs: Sequence[RunMetrics], new: str, old: str, response: str, level: float
) -> PairedEffect:
    """The mean difference between two settings, paired by seed."""
    return _contrast(f"{new} - {old}", runs, {new: 1, old: -1}, response, level)


def _contrast(
    name: str,
    runs: Sequence[RunMetrics],
    signs: Mapping[str, int],
    response: str,
    level: float,
) -> PairedEffect:
    """Mean over the settings with sign +1 minus mean over those with -1, seed by seed."""
    values: dict[int, dict[str, float | None]] = {}
    for run in runs:
        if run.setting in signs:
            values.setdefault(run.seed, {})[run.setting] = RESPONSES[response](run)
    contrasts, missing = [], []
    for seed in sorted(values):
        contrast = _one_contrast(values[seed], signs)
        if contrast is None:
            missing.append(seed)
        else:
            contrasts.append(contrast)
    return _interval(name, response, np.array(contrasts), tuple(missing), level)


def _one_contrast(values: Mapping[str, float | None], signs: Mapping[str, int]) -> float | None:
    high: list[float] = []
    low: list[float] = []
    for setting, sign in signs.items():
        value = values.get(setting)
        if value is None or not math.isfinite(value):
            return None
        (high if sign > 0 else low).append(value)
    return float(np.mean(high) - np.mean(low))


def _interval(
    name: str, response: str, contrasts: np.ndarray, missing: tuple[int, ...], level: float
) -> PairedEffect:
    count = len(contrasts)
    if count == 0:
        return PairedEffect(name, response, None, None, None, None, 0, missing)
    estimate = float(contrasts.mean())
    if count == 1:
        return PairedEffect(name, response, estimate, None, None, None, 1, missing)
    if np.ptp(contrasts) <= 1e-12 * max(1.0, abs(estimate)):  # t is 0/0 or infinite
        equal = abs(estimate) <= 1e-12
        estimate, p = (0.0, 1.0) if equal else (estimate, None)
        return PairedEffect(name, response, estimate, None, None, p, count, missing)
    test = stats.ttest_1samp(contrasts, 0.0)
    low, high = map(float, test.confidence_interval(level))
    return PairedEffect(name, response, estimate, low, high, float(test.pvalue), count, missing)


def divergence_test(new: Sequence[RunMetrics], old: Sequence[RunMetrics]) -> float:
    """Fisher's exact two-sided p that two groups of runs diverge equally often."""
    table = [
        [sum(bool(r.diverged) for r in group), sum(not r.diverged for r in group)]
        for group in (new, old)
    ]
    return float(stats.fisher_exact(table).pvalue)


def target_test(
    new: Sequence[RunMetrics], old: Sequence[RunMetrics], task: str
) -> tuple[float, float] | None:
    """Log-rank test of the steps to the target: statistic (positive: new is faster) and p.

    Runs that never reach the target are censored where they ended. p is two-sided by permutation
    of the runs over the groups, exact if there are at most ``MAX_ASSIGNMENTS``: the normal
    approximation calls 3 against 3 runs .025 where the smallest possible p is .1. None if no
    run of either group reaches the target, or a group has no run.
    """
    groups = [_censored(group, task) for group in (new, old)]
    if None in groups or not any(r.steps_to_target.get(task) for r in (*new, *old)):
        return None
    scores = _log_rank_scores([*new, *old], task)
    if not np.abs(scores).max() > 1e-12:
        return 0.0, 1.0  # everyone at one step
    statistic = float(stats.logrank(groups[0], groups[1]).statistic)
    return statistic, _permutation_p(scores, len(new))


def _log_rank_scores(runs: Sequence[RunMetrics], task: str) -> np.ndarray:
    """Event minus cumulative hazard of the pooled runs; a group's sum is observed - expected."""
    reached = [run.steps_to_target.get(task) for run in runs]
    event = np.array([step is not None for step in reached])
    time = np.array(
        [run.observed_steps if s is None else s for run, s in zip(runs, reached, strict=True)]
    )
    hazard = np.zeros(len(runs))
    for step in np.unique(time[event]):
        hazard[time >= step] += (event & (time == step)).sum() / (time >= step).sum()
    return event - hazard


def _permutation_p(scores: np.ndarray, size: int) -> float:
    """Two-sided p of the first ``size`` scores' sum among all ways to choose as many."""
    found = stats.permutation_test(
        (scores[:size], scores[size:]),
        lambda chosen, _others, axis: np.abs(chosen.sum(axis)).round(9),  # equal sums are equal
        alternative="greater",
        n_resamples=MAX_ASSIGNMENTS,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def smallest_p(new: int, old: int) -> float:
    """The smallest two-sided p that a permutation of so many runs can give."""
    return min(1.0, (2 if new == old else 1) / math.comb(new + old, new))


def _censored(runs: Sequence[RunMetrics], task: str) -> CensoredData | None:
    if not runs:
        return None
    reached = [run.steps_to_target.get(task) for run in runs]
    return CensoredData(
        uncensored=[step for step in reached if step is not None],
        right=[run.observed_steps for run, step in zip(runs, reached, strict=True) if step is None],
    )
