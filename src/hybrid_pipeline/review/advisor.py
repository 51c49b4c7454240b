"""Advice from training curves: what the figures say, which parameter to change, and how.

Every check has a threshold in ``review.advisor`` and stays silent below it; false alarms on
healthy noisy curves are simulated in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import (
    AdvisorConfig,
    HaltingConfig,
    ModelConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.report.inputs import AdvisorNote
from hybrid_pipeline.review.advisor_scores import overfitting, still_improving
from hybrid_pipeline.review.cells import read_curves
from hybrid_pipeline.review.curves import FloatArray, StabilityCurve
from hybrid_pipeline.review.findings import percent, two_digits
from hybrid_pipeline.review.render import markdown_table
from hybrid_pipeline.review.stability_metrics import spike_flags

SPIKE_WINDOW, SPIKE_THRESHOLD = 50, 6.0
EXTEND_FACTOR = 1.5
HIGHEST_RETURN = 1.0  # a score of 1 and no cost
Level = Literal["info", "warning", "problem"]


@dataclass(frozen=True)
class RunSettings:
    """What a run was trained with, and the advisor's thresholds."""

    training: TrainingConfig
    halting: HaltingConfig
    model: ModelConfig
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
    """

    id: str
    level: Level
    figure: str
    text: str
    parameter: str
    value: float | int | str

    @property
    def params(self) -> str:
        """The change as ``kedro run`` takes it."""
        return f"--params {self.parameter}={_plain(self.value)}"


def advise(curve: StabilityCurve, run: RunSettings) -> tuple[Advice, ...]:
    """Advice on one run; empty where the curves look healthy."""
    return tuple(advice for check in _CHECKS for advice in check(curve, run))


def advise_study(
    runs: Sequence[tuple[StabilityCurve, RunSettings]],
) -> dict[tuple[str, str, str], tuple[Advice, tuple[int, ...], int]]:
    """Advice on many runs, seeds of one arm and task together.

    Returns:
        (arm or setting, task, id) -> the first seed's advice, the seeds that gave it, and how many
        seeds there are.
    """
    found: dict[tuple[str, str, str], tuple[Advice, tuple[int, ...], int]] = {}
    for curve, run in runs:
        same = [c for c, _ in runs if (c.setting, c.tasks) == (curve.setting, curve.tasks)]
        for advice in advise(curve, run):
            key = (curve.setting, curve.tasks, advice.id)
            first, seeds, _ = found.get(key, (advice, (), 0))
            found[key] = (first, (*seeds, curve.seed), len(same))
    return found


def advisor_notes(runs: Sequence[tuple[StabilityCurve, RunSettings]]) -> tuple[AdvisorNote, ...]:
    """The same as notes of the study's report.

    Arms share their parameters, so one remark on many arms and tasks is one note: with the first
    figure, all places, and the largest of the values that were suggested.
    """
    kinds: dict[tuple[str, str], list[_Place]] = {}
    for (setting, task, _), (advice, seeds, total) in advise_study(runs).items():
        place = _Place(advice, f"{setting}, {task}, {_seeds(seeds, total)}", seeds[0])
        kinds.setdefault((advice.id, advice.text), []).append(place)
    return tuple(_note(places) for places in kinds.values())


@dataclass(frozen=True)
class _Place:
    """A remark on the runs of one arm or setting on one task."""

    advice: Advice
    where: str
    seed: int


def _note(places: Sequence[_Place]) -> AdvisorNote:
    first = places[0]
    numbers = [p.advice for p in places if not isinstance(p.advice.value, str)]
    change = max(numbers, key=lambda advice: float(advice.value), default=first.advice)
    source = f"seed {first.seed}" if len(places) == 1 else f"the first of these, seed {first.seed}"
    return AdvisorNote(
        level=first.advice.level,
        where="; ".join(place.where for place in places),
        text=f"{first.advice.text} ({first.advice.figure}, {source})",
        suggestion=change.params,
    )


def study_advice(
    records: Sequence[Mapping[str, Any]],
    task_data: Mapping[str, Mapping[str, Any]],
    run: RunSettings,
    storage: StorageConfig,
) -> tuple[AdvisorNote, ...]:
    """Advice on the cells of a finished study, for its report.

    Args:
        records: one a cell, with its results by task.
        task_data: the handle of every task; tells the number of validation examples.
        run: what all cells were trained with, and the thresholds.
        storage: where the cells lie.
    """
    examples = {task: int(handle["splits"]["validation"]) for task, handle in task_data.items()}
    curves = read_curves(records, run.training, storage, num_validation=examples)
    return advisor_notes([(curve, _settings_of(curve.setting, run)) for curve in curves])


def _settings_of(arm: str, run: RunSettings) -> RunSettings:
    """The settings with what the arm overrides: a control with one path has none to collapse."""
    num_paths = find_arm(arm).num_paths
    if num_paths is None:
        return run
    coconut = run.model.coconut.model_copy(update={"num_paths": num_paths})
    return replace(run, model=run.model.model_copy(update={"coconut": coconut}))


def advice_markdown(runs: Sequence[tuple[StabilityCurve, RunSettings]]) -> str:
    """The advice as a Markdown table, or one sentence where there is none."""
    notes = advisor_notes(runs)
    if not notes:
        return f"No advice: the curves of {len(runs)} runs look healthy.\n"
    rows = [(note.level, note.where, note.text, f"`{note.suggestion}`") for note in notes]
    return "\n".join(markdown_table(["level", "where", "what", "change"], rows)) + "\n"


def _overfits(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    found = []
    for task in curve.validation:
        drop = overfitting(curve, task, run.advisor)
        if drop is not None:
            found.append(
                Advice(
                    "overfits",
                    "warning",
                    f"validation score {drop.before:.3f} to {drop.after:.3f} while the training "
                    f"loss fell",
                    f"Overfits from epoch {drop.epoch:.1f}",
                    "training.epochs",
                    round(drop.epoch, 1),
                )
            )
    return found


def _improves(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    found = []
    for task in curve.validation:
        gain = still_improving(curve, task, run.advisor)
        if gain is not None:
            found.append(
                Advice(
                    "still_improves",
                    "info",
                    f"validation score {gain.before:.3f} to {gain.after:.3f} at the end",
                    "Still improves; extend the training",
                    "training.epochs",
                    round(EXTEND_FACTOR * run.training.epochs, 1),
                )
            )
    return found


def _spikes(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    flags = spike_flags(curve.loss, SPIKE_WINDOW, SPIKE_THRESHOLD)
    if not len(flags) or flags.mean() <= run.advisor.max_spike_share:
        return []
    figure = f"{percent(flags.mean())} of updates are loss spikes"
    clip = run.training.max_grad_norm is None
    name, value = ("max_grad_norm", 1.0) if clip else ("lr", two_digits(run.training.lr / 2))
    return [Advice("spikes", "problem", figure, "The loss spikes", f"training.{name}", value)]


def _non_finite(curve: StabilityCurve, run: RunSettings) -> list[Advice]:
    if not curve.num_steps or (~curve.finite).mean() <= run.advisor.max_non_finite_share:
        return []
    figure = f"{percent((~curve.finite).mean())} of updates were skipped"
    half = run.training.precision == "fp16"
    name, value = ("precision", "fp32") if half else ("lr", two_digits(run.training.lr / 2))
    text = "Updates are not finite"
    return [Advice("non_finite", "problem", figure, text, f"training.{name}", value)]


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
        if share < run.advisor.min_disagreement:
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
            f"largest Q-value {change:+.2f} over the second half, score {rise:+.2f}",
            "The DQN's Q-values drift",
            "halting.lr_dqn",
            two_digits(run.halting.lr_dqn / 2),
        )
    ]


_CHECKS: tuple[Callable[[StabilityCurve, RunSettings], list[Advice]], ...] = (
    _overfits,
    _improves,
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


def _seeds(seeds: Sequence[int], total: int) -> str:
    return f"{len(seeds)} of {total} seeds ({', '.join(map(str, seeds))})"


def _plain(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
