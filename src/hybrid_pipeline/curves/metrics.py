"""Stability of one training run as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hybrid_pipeline.config import StabilityConfig
from hybrid_pipeline.curves.curve import BoolArray, FloatArray, StabilityCurve, finite_median

MAD_TO_SD = 1.4826  # of a normal distribution
FIRST_STEPS = 10


@dataclass(frozen=True)
class RunMetrics:
    """The metrics of one run; None if a metric does not apply.

    Attributes:
        diverged: why the run counts as diverged, or the empty string.
        non_finite_steps: updates whose loss or gradient was not finite.
        spike_share: share of judged updates whose loss is a spike.
        early_spike_share: the same over the first part of training; None if that part is not
            longer than the window, so that none of its updates is judged.
        grad_p50, grad_p95, grad_p99: percentiles of the gradient norm before clipping.
        clipped_share: share of updates that were clipped.
        largest_q: the largest Q-value of the run.
        final: mean test score over the run's tasks.
        steps_to_target: the first validation at or above the target, for each task.
        observed_steps: the planned updates; a run that gave up never reaches a target in them.
        judged_steps: updates that were judged for spikes: those after the first window.
        settled_p99: p99 of the gradient norm after the longest warm-up of the study.
        q_excess: the largest Q-value minus the final score, or minus the last validation score of a
            run that gave up: a Q-value estimates a score, and follows it.
    """

    setting: str
    seed: int
    tasks: str
    diverged: str
    num_steps: int
    non_finite_steps: int
    spike_share: float | None
    early_spike_share: float | None
    grad_p50: float | None
    grad_p95: float | None
    grad_p99: float | None
    clipped_share: float | None
    largest_q: float | None
    final: float | None
    steps_to_target: Mapping[str, float | None]
    observed_steps: float
    judged_steps: int
    settled_p99: float | None
    q_excess: float | None


def run_metrics(
    curve: StabilityCurve,
    config: StabilityConfig,
    targets: Mapping[str, float],
    *,
    settled_from: int = 0,
) -> RunMetrics:
    """All metrics of a run.

    Args:
        curve: the run.
        config: window, threshold and the share of training that counts as early.
        targets: task -> score to reach.
        settled_from: updates of the study's longest warm-up, after which norms are compared.
    """
    spikes = spike_flags(curve.loss, config.spike_window, config.spike_threshold)
    early = early_steps(curve.planned_steps, config) - config.spike_window
    norms = curve.grad_norm[np.isfinite(curve.grad_norm)]
    p50, p95, p99 = np.percentile(norms, [50, 95, 99]) if len(norms) else (None, None, None)
    settled = curve.grad_norm[settled_from:]
    settled = settled[np.isfinite(settled)]
    q_values = curve.q_max[np.isfinite(curve.q_max)]
    return RunMetrics(
        setting=curve.setting,
        seed=curve.seed,
        tasks=curve.tasks,
        diverged=divergence(curve),
        num_steps=curve.num_steps,
        non_finite_steps=int((~curve.finite).sum()),
        spike_share=_share(spikes),
        early_spike_share=_share(spikes[:early]) if early > 0 else None,
        grad_p50=_float(p50),
        grad_p95=_float(p95),
        grad_p99=_float(p99),
        clipped_share=_share(curve.clipped),
        largest_q=float(q_values.max()) if len(q_values) else None,
        final=float(np.mean(list(curve.final.values()))) if curve.final else None,
        steps_to_target={t: steps_to_target(curve, t, score) for t, score in targets.items()},
        observed_steps=float(curve.planned_steps),
        judged_steps=len(spikes),
        settled_p99=float(np.percentile(settled, 99)) if len(settled) else None,
        q_excess=_q_excess(curve),
    )


def _q_excess(curve: StabilityCurve) -> float | None:
    q_values = curve.q_max[np.isfinite(curve.q_max)]
    ends = [float(v.score[-1]) for v in curve.validation.values() if len(v.score)]
    scores = list(curve.final.values()) or ends
    return float(q_values.max() - np.mean(scores)) if len(q_values) and scores else None


def early_steps(planned_steps: int, config: StabilityConfig) -> int:
    """Updates that count as early."""
    return round(config.early_share * planned_steps)


def divergence(curve: StabilityCurve) -> str:
    """Why a run counts as diverged; the empty string if it does not.

    A run diverged when it gave up, when its last update was not finite, or when the median loss
    of its last tenth is above the median of its first ten updates: worse than before training.
    """
    if curve.gave_up:
        return "gave up after non-finite updates"
    if curve.num_steps == 0:
        return "no update"
    if not (curve.finite[-1] and np.isfinite(curve.loss[-1])):
        return "the last update is not finite"
    first = curve.loss[:FIRST_STEPS]
    last = curve.loss[-max(1, curve.num_steps // 10) :]
    if curve.num_steps > 2 * FIRST_STEPS and finite_median(last) > finite_median(first):
        return "the loss ends above where it began"
    return ""


def spike_flags(loss: FloatArray, window: int, threshold: float) -> BoolArray:
    """Which updates are loss spikes, for every update after the first ``window``.

    A spike lies above median + threshold x 1.4826 x MAD of the ``window`` updates before it (MAD:
    median absolute deviation from the median), or is not finite. Non-finite values inside a
    window are left out; a window without a finite value judges nothing.

    Args:
        loss: one value per update.
        window: updates before the judged one.
        threshold: in robust standard deviations.

    Returns:
        Flags of length max(0, len(loss) - window).
    """
    if len(loss) <= window:
        return np.zeros(0, dtype=np.bool_)
    before = sliding_window_view(np.where(np.isfinite(loss), loss, np.nan), window)[:-1]
    known = np.isfinite(before).any(axis=1)
    judged = loss[window:]
    flags = ~np.isfinite(judged)
    middle = np.median if np.isfinite(loss).all() else np.nanmedian  # the latter is slow
    median = middle(before[known], axis=1)
    spread = middle(np.abs(before[known] - median[:, None]), axis=1)
    flags[known] |= judged[known] > median + threshold * MAD_TO_SD * spread
    return flags


def steps_to_target(curve: StabilityCurve, task: str, target: float) -> float | None:
    """The first validation step at or above the target; None if it was never reached."""
    validation = curve.validation.get(task)
    if validation is None:
        return None
    reached = validation.step[validation.score >= target]
    return float(reached[0]) if len(reached) else None


def target_scores(
    curves: Sequence[StabilityCurve], config: StabilityConfig, reference: str
) -> dict[str, float]:
    """The score to reach on each task: configured, or a fraction of the reference's mean.

    Args:
        curves: all runs.
        config: ``target_scores`` and ``target_fraction``.
        reference: the setting whose final score is the yardstick.
    """
    finals: dict[str, list[float]] = {}
    for curve in curves:
        if curve.setting == reference:
            for task, validation in curve.validation.items():
                if len(validation.score):
                    finals.setdefault(task, []).append(float(validation.score[-1]))
    scores = {task: config.target_fraction * float(np.mean(v)) for task, v in finals.items()}
    return scores | dict(config.target_scores)


def _share(flags: BoolArray) -> float | None:
    return float(np.mean(flags)) if len(flags) else None


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
