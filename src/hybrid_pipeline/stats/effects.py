"""Gains of stages, totals and controls with intervals, p values, power and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.stats import measures
from hybrid_pipeline.stats.contrasts import (
    MIN_SEEDS,
    complete_seeds,
    contrast_arrays,
    contrast_interval,
    exponentiate,
    same_scores,
)
from hybrid_pipeline.stats.intervals import Variance, crossed_bootstrap, two_component
from hybrid_pipeline.stats.multiplicity import holm
from hybrid_pipeline.stats.power import study_mde80, study_seeds_needed
from hybrid_pipeline.stats.results import MEAN_TASK, ArmAccuracy, Effect, Interval
from hybrid_pipeline.stats.scores import ScoreMatrix
from hybrid_pipeline.stats.verdicts import Evidence, decide


@dataclass(frozen=True)
class Comparison:
    """Two arms to compare, before any number is known."""

    kind: str
    arm: str
    reference: str
    component: str = ""


@dataclass(frozen=True)
class Basis:
    """What all comparisons of a study rest on.

    Attributes:
        matrix: the scores of the primary metrics.
        evaluation: delta, level, resampling and the number of diverged seeds allowed.
        chance: task -> chance level, for kappa.
        diverged: arm -> seeds whose training diverged.
    """

    matrix: ScoreMatrix
    evaluation: EvaluationConfig
    chance: Mapping[str, float] = field(default_factory=dict)
    diverged: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def alpha(self) -> float:
        """Two-sided level of every test, 1 minus the level of the intervals."""
        return round(1 - self.evaluation.level, 12)

    def groups(self) -> list[tuple[str, tuple[str, ...]]]:
        """The mean over tasks first, then each task by itself."""
        tasks = self.matrix.tasks
        return [(MEAN_TASK, tasks), *((task, (task,)) for task in tasks)]


def arm_accuracies(
    basis: Basis, metric_of: Mapping[str, str], *, primary: bool
) -> tuple[ArmAccuracy, ...]:
    """The mean score of every arm: over tasks (if all are complete) and on each task."""
    rows = [
        _accuracy(basis, arm, label, tasks, metric_of, primary)
        for label, tasks in basis.groups()
        for arm in basis.matrix.arms
    ]
    return tuple(row for row in rows if row is not None)


def _accuracy(
    basis: Basis,
    arm: str,
    label: str,
    tasks: tuple[str, ...],
    metric_of: Mapping[str, str],
    primary: bool,
) -> ArmAccuracy | None:
    matrix = basis.matrix
    strata = contrast_arrays(matrix, {arm: 1.0}, tasks)
    if strata is None:
        return None
    by_seed = np.mean([d.mean(axis=1) for d in strata], axis=0)
    seeds = complete_seeds(matrix, [arm], tasks)
    interval = contrast_interval(matrix, {arm: 1.0}, tasks, level=basis.evaluation.level)
    steps = [matrix.steps[arm, task] for task in tasks if (arm, task) in matrix.steps]
    metrics = {metric_of.get(task, "correct") for task in tasks}
    return ArmAccuracy(
        arm=arm,
        task=label,
        metric=metrics.pop() if len(metrics) == 1 else "primary of each task",
        primary=primary,
        estimate=float(by_seed.mean()),
        interval=None if interval is None else _inside_unit(interval),
        num_seeds=len(seeds),
        num_examples=sum(d.shape[1] for d in strata),
        by_seed={s: float(v) for s, v in zip(seeds, by_seed, strict=True)},
        supervision_steps=float(np.mean(steps)) if len(steps) == len(tasks) else None,
    )


def _inside_unit(interval: Interval) -> Interval:
    """An accuracy's interval without the part that no accuracy can have."""
    low, high = max(interval.low, 0.0), min(interval.high, 1.0)
    return interval.model_copy(update={"low": low, "high": high})


def family_effects(
    basis: Basis, comparisons: Sequence[Comparison], *, adjust: bool
) -> tuple[Effect, ...]:
    """Effects of a family of comparisons, on the mean over tasks and on each task.

    Args:
        basis: scores and levels.
        comparisons: the family, such as the stages of the chain.
        adjust: Holm over the family within each task; otherwise each stands alone.
    """
    effects: list[Effect] = []
    for label, tasks in basis.groups():
        variances = [paired_variance(basis, c, tasks) for c in comparisons]
        p_values = [None if v is None else v.p_two_sided() for v in variances]
        adjusted = holm(p_values) if adjust else p_values
        effects.extend(
            _effect(basis, c, label, tasks, v, p)
            for c, v, p in zip(comparisons, variances, adjusted, strict=True)
        )
    return tuple(effects)


def paired_variance(basis: Basis, comparison: Comparison, tasks: Sequence[str]) -> Variance | None:
    """The two-component variance of a comparison; ``None`` if it is not evaluable."""
    if why_not_evaluable(basis, comparison, tasks):
        return None
    strata = contrast_arrays(basis.matrix, _weights(comparison), tasks)
    return None if strata is None else two_component(strata)


def _weights(comparison: Comparison) -> dict[str, float]:
    return {comparison.arm: 1.0, comparison.reference: -1.0}


def why_not_evaluable(basis: Basis, comparison: Comparison, tasks: Sequence[str]) -> str:
    """Why a comparison cannot be judged; empty if it can."""
    pair = (comparison.arm, comparison.reference)
    diverged = {seed for arm in pair for seed in basis.diverged.get(arm, ())}
    allowed = basis.evaluation.max_diverged_seeds
    if len(diverged) > allowed:
        return f"{len(diverged)} diverged seeds, {allowed} allowed"
    num_seeds = len(complete_seeds(basis.matrix, pair, tasks))
    if num_seeds < MIN_SEEDS:
        return f"{num_seeds} complete seeds, {MIN_SEEDS} needed"
    if same_scores(basis.matrix, pair, tasks):
        return "both arms score the same on every example, which does not tell them apart"
    return ""


def _effect(
    basis: Basis,
    comparison: Comparison,
    label: str,
    tasks: tuple[str, ...],
    variance: Variance | None,
    p_adjusted: float | None,
) -> Effect:
    matrix = basis.matrix
    pair = (comparison.arm, comparison.reference)
    num_seeds = len(complete_seeds(matrix, pair, tasks))
    base = {
        **vars(comparison),
        "task": label,
        "num_seeds": num_seeds,
        "num_examples": _num_examples(matrix, comparison, tasks),
        **(_measures(basis, comparison, tasks) if num_seeds else {}),
    }
    if variance is None:
        reason = why_not_evaluable(basis, comparison, tasks)
        code, words = "not_evaluable", f"not evaluable: {reason}"
        return Effect.model_validate({**base, "verdict_code": code, "verdict": words})
    return Effect.model_validate(
        {**base, **_inference(basis, comparison, label, tasks, variance, p_adjusted)}
    )


def _inference(
    basis: Basis,
    comparison: Comparison,
    label: str,
    tasks: tuple[str, ...],
    variance: Variance,
    p_adjusted: float | None,
) -> dict[str, object]:
    evaluation, alpha, weights = basis.evaluation, basis.alpha, _weights(comparison)
    delta = evaluation.delta
    strata = contrast_arrays(basis.matrix, weights, tasks) or []
    rng = rng_for(
        f"bootstrap/{comparison.arm}/{comparison.reference}/{label}", evaluation.bootstrap_seed
    )
    log = contrast_interval(basis.matrix, weights, tasks, "log", level=evaluation.level)
    evidence = Evidence(
        difference=variance.interval(evaluation.level),
        equivalence_interval=variance.interval(1 - 2 * alpha),
        p_adjusted=p_adjusted,
        p_tost=tost(variance, delta),
        mde80=study_mde80(variance, alpha),
        seeds_needed=study_seeds_needed(delta, variance, alpha),
    )
    code, words = decide(evidence, delta=delta, alpha=alpha)
    return {
        "difference": evidence.difference,
        "bootstrap": crossed_bootstrap(
            strata, num_resamples=evaluation.num_resamples, level=evaluation.level, rng=rng
        ),
        "relative": exponentiate(log, minus_one=True),
        "p": variance.p_two_sided(),
        "p_adjusted": p_adjusted,
        "p_tost": evidence.p_tost,
        "p_seeds": variance.p_seeds(),
        "equivalence_interval": evidence.equivalence_interval,
        "mde80": evidence.mde80,
        "seeds_needed": evidence.seeds_needed,
        "verdict": words,
        "verdict_code": code,
    }


def tost(variance: Variance, delta: float) -> float:
    """P of the two one-sided tests that the effect lies inside (-delta, delta)."""
    above = variance.p_greater(-delta)
    below = 1.0 - variance.p_greater(delta)
    if variance.is_zero:
        return 0.0 if abs(variance.mean) < delta else 1.0
    return max(above, below)


def _num_examples(matrix: ScoreMatrix, comparison: Comparison, tasks: Sequence[str]) -> int:
    cells = [matrix.values.get((comparison.arm, task)) for task in tasks]
    return sum(cell.shape[1] for cell in cells if cell is not None)


def _measures(
    basis: Basis, comparison: Comparison, tasks: tuple[str, ...]
) -> dict[str, float | None]:
    """The secondary measures, each averaged over tasks if every task defines it."""
    mask = basis.matrix.present((comparison.arm, comparison.reference), tasks)
    pairs = [
        tuple(
            float(basis.matrix.values[arm, task][mask].mean())
            for arm in (comparison.arm, comparison.reference)
        )
        for task in tasks
    ]
    kappas = [
        _kappa_difference(new, old, basis.chance.get(task))
        for task, (new, old) in zip(tasks, pairs, strict=True)
    ]
    return {
        "accuracy": float(np.mean([new for new, _ in pairs])),
        "baseline_accuracy": float(np.mean([old for _, old in pairs])),
        "error_reduction": _mean([measures.error_reduction(*pair) for pair in pairs]),
        "log_odds": _mean([measures.log_odds(*pair) for pair in pairs]),
        "kappa_difference": _mean(kappas),
    }


def _kappa_difference(new: float, old: float, chance: float | None) -> float | None:
    if chance is None:
        return None
    new_kappa, old_kappa = measures.kappa(new, chance), measures.kappa(old, chance)
    return None if new_kappa is None or old_kappa is None else new_kappa - old_kappa


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
