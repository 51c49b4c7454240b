"""What the updates of one run say: losses, gradients, gate, paths, Q-values.

Every check has a threshold in ``review.advisor`` and stays silent below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hybrid_pipeline.config import (
    AdvisorConfig,
    HaltingConfig,
    TrainingConfig,
)
from hybrid_pipeline.curves.curve import BoolArray, FloatArray, StabilityCurve
from hybrid_pipeline.curves.metrics import FIRST_STEPS, divergence, spike_flags
from hybrid_pipeline.text_tables import percent, two_digits
from hybrid_pipeline.training.learner import Learner

SPIKE_WINDOW, SPIKE_THRESHOLD = 50, 6.0
HIGHEST_RETURN = 1.0  # a score of 1 and no cost
AGREE_SHARE = 0.1  # of the error rate: paths that are right agree
Level = Literal["info", "warning", "problem"]


@dataclass(frozen=True)
class RunSettings(Learner):
    """What a run was trained with, and the advisor's thresholds."""

    advisor: AdvisorConfig


@dataclass(frozen=True)
class Advice:
    """One remark on one run.

    Attributes:
        id: stable name of the kind of remark.
        level: ``info`` for a chance, ``warning`` and ``problem`` for a fault.
        figure: the measured figure behind the remark.
        text: what it means, in a sentence.
        parameter: what to change, dotted.
        value: what to set it to.
        num_runs: runs whose mean the figure is.
    """

    id: str
    level: Level
    figure: str
    text: str
    parameter: str
    value: float | int | str
    num_runs: int = 1

    @property
    def params(self) -> str:
        """The change as ``kedro run`` takes it."""
        return f"--params {self.parameter}={_plain(self.value)}"


def _diverges(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    """A run that counts as diverged; a loss that rose must end above all of its first values."""
    reason = divergence(curve)
    if not reason or not (curve.num_steps or curve.gave_up):
        return []
    tenth = curve.loss[-max(1, curve.num_steps // 10) :]
    first, finite = curve.loss[:FIRST_STEPS], "finite" not in reason
    if finite and not np.median(tenth) > np.max(first):
        return []
    figure = (
        f"{percent((~curve.finite).mean() if curve.num_steps else 1.0)} of updates were skipped"
    )
    if finite:
        figure = f"median loss {np.median(first):.2g} at first, {np.median(tenth):.2g} at the end"
    name, value = _calmer(run.training, finite=finite)
    return [Advice("diverged", "problem", figure, f"Diverged: {reason}", name, value)]


def _spikes(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    flags = _spike_flags(curve)
    if not len(flags) or flags.mean() <= run.advisor.max_spike_share:
        return []
    figure = f"{percent(flags.mean())} of updates are loss spikes"
    clip = run.training.max_grad_norm is None
    name, value = ("max_grad_norm", 1.0) if clip else ("lr", two_digits(run.training.lr / 2))
    return [Advice("spikes", "problem", figure, "The loss spikes", f"training.{name}", value)]


def _non_finite(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    if (
        not curve.num_steps
        or curve.gave_up
        or (~curve.finite).mean() <= run.advisor.max_non_finite_share
    ):
        return []
    figure = f"{percent((~curve.finite).mean())} of updates were skipped"
    name, value = _calmer(run.training, finite=False)
    return [Advice("non_finite", "problem", figure, "Updates are not finite", name, value)]


def _clips(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    second = slice(curve.num_steps // 2, None)
    clipped, norms = curve.clipped[second], curve.grad_norm[second]
    norms = norms[np.isfinite(norms)]
    if not len(norms) or clipped.mean() <= run.advisor.max_clipped_share:
        return []
    median, high = np.percentile(norms, [50, 90])
    return [
        Advice(
            "clips_constantly",
            "info",
            f"{percent(clipped.mean())} of updates in the second half, median norm {median:.2g}",
            "Clips constantly: every gradient gets one length, which AdamW divides out again, "
            "so the bound no longer catches outliers",
            "training.max_grad_norm",
            two_digits(float(high)),
        )
    ]


def _gate(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    if not len(curve.gate):
        return []
    mean = _end(curve.gate)
    if run.advisor.gate_low <= mean <= run.advisor.gate_high:
        return []
    ignored = "the frozen tower" if mean < run.advisor.gate_low else "the custom ViT"
    parameter, value = _longer_warmup(run.training)
    return [
        Advice(
            "dead_gate",
            "warning",
            f"mean gate {mean:.3f} at the end",
            f"The fusion ignores {ignored}; a gate that saturates early may need a longer warm-up",
            parameter,
            value,
        )
    ]


def _paths(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    paths, weight = run.model.coconut.num_paths, run.model.coconut.diversity_weight
    value = 0.1 if weight == 0 else 2 * weight
    reasons = []
    if paths > 1 and len(curve.weight_entropy):
        entropy, highest = _end(curve.weight_entropy), float(np.log(paths))
        if entropy < run.advisor.min_entropy_share * highest:
            reasons.append(("one path takes all", f"weight entropy {entropy:.3f} of {highest:.3f}"))
    if paths > 1 and len(curve.disagreement):
        share = _end(curve.disagreement)
        if share < min(run.advisor.min_disagreement, AGREE_SHARE * _error_rate(curve)):
            reasons.append(("the paths nearly agree", f"they differ on {percent(share)} of slots"))
    if not reasons:
        return []
    text = "; ".join(reason for reason, _ in reasons)
    figure = "; ".join(figure for _, figure in reasons)
    parameter = "model.coconut.diversity_weight"
    return [Advice("collapsed_paths", "warning", figure, f"Planning: {text}", parameter, value)]


def _q_values(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    q_values = curve.q_max[np.isfinite(curve.q_max)]
    if len(q_values) < SPIKE_WINDOW:
        return []
    last = float(np.median(q_values[-max(1, len(q_values) // 5) :]))
    lowest = _lowest_return(run)
    slack = run.advisor.q_slack
    if not lowest - slack <= last <= HIGHEST_RETURN + slack:
        parameter, value = _slower_target(run.halting)
        figure = f"largest Q-value {last:.2f} at the end, returns lie in [{lowest:.2f}, 1]"
        text = "The DQN's Q-values leave the range of the returns"
        return [Advice("q_beyond_returns", "problem", figure, text, parameter, value)]
    change, rise = q_change(curve)
    if min(abs(change), abs(change - rise)) <= run.advisor.min_q_growth:
        return []
    return [
        Advice(
            "q_drifts",
            "warning",
            f"largest Q-value {change:+z.2f} over the second half, score {rise:+z.2f}",
            "The DQN's Q-values drift",
            "halting.lr_dqn",
            two_digits(run.halting.lr_dqn / 2),
        )
    ]


RUN_CHECKS: tuple[Callable[[StabilityCurve, RunSettings], list[Advice]], ...] = (
    _diverges,
    _spikes,
    _non_finite,
    _clips,
    _gate,
    _paths,
    _q_values,
)


def q_change(curve: StabilityCurve) -> tuple[float, float]:
    """Change of the largest Q-value, and of the score, over the second half of DQN training.

    Q estimates a score, so it may rise as the score does; medians of fifths of the half are
    compared.
    """
    known = np.flatnonzero(np.isfinite(curve.q_max))
    half = known[len(known) // 2 :]
    fifth = max(1, len(half) // 5)
    start, end = half[:fifth], half[-fifth:]
    change = float(np.median(curve.q_max[end]) - np.median(curve.q_max[start]))
    scores = [
        np.interp([curve.step[start[-1]], curve.step[end[-1]]], v.step, v.score)
        for v in curve.validation.values()
        if len(v.step)
    ]
    rise = float(np.mean([pair[1] - pair[0] for pair in scores])) if scores else 0.0
    return change, rise


def _lowest_return(run: RunSettings) -> float:
    steps = run.model.trm.supervision_steps - 1
    halting = run.halting
    penalty = max(halting.expansion_penalty_start, halting.expansion_penalty_end)
    return -steps * (halting.step_cost + penalty)


def _slower_target(halting: HaltingConfig) -> tuple[str, float | int]:
    if halting.target_tau is not None:
        return "halting.target_tau", two_digits(halting.target_tau / 2)
    return "halting.target_period", 2 * (halting.target_period or 1)


def _longer_warmup(training: TrainingConfig) -> tuple[str, float | int]:
    if training.lr_warmup_steps is not None:
        return "training.lr_warmup_steps", max(100, 2 * training.lr_warmup_steps)
    return "training.lr_warmup_ratio", min(0.5, max(0.1, 2 * (training.lr_warmup_ratio or 0.0)))


def _end(values: FloatArray) -> float:
    return float(np.mean(values[-max(1, len(values) // 10) :]))


def _spike_flags(curve: StabilityCurve) -> BoolArray:
    """Spikes of the log of the loss, whose noise grows with it; of the loss if it can be 0."""
    finite = curve.loss[np.isfinite(curve.loss)]
    loss = curve.loss
    if (finite > 0).all():
        loss = np.log(np.where(np.isfinite(loss), loss, np.inf))
    return spike_flags(loss, SPIKE_WINDOW, SPIKE_THRESHOLD)


def _error_rate(curve: StabilityCurve) -> float:
    """What the run still gets wrong at the end; 1 if no validation tells."""
    ends = [v.score[-max(1, len(v.score) // 5) :] for v in curve.validation.values()]
    known = [1 - float(np.mean(end)) for end in ends if len(end)]
    return max(known, default=1.0)


def _calmer(training: TrainingConfig, *, finite: bool) -> tuple[str, float | str]:
    if training.precision == "fp16" and not finite:
        return "training.precision", "fp32"
    return "training.lr", two_digits(training.lr / 2)


def _plain(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
