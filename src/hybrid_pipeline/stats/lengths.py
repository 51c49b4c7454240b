"""Does the answer depend on how long one trains? Stage gains at every training length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from hybrid_pipeline.stats.contrasts import contrast_interval
from hybrid_pipeline.stats.effects import Basis, Comparison, family_effects
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    Effect,
    Interval,
    LengthChange,
    LengthGain,
    StudyLength,
)
from hybrid_pipeline.stats.scores import LENGTH, UPDATES, ScoreMatrix

Matrices = Mapping[float, ScoreMatrix]


def study_lengths(scores: pd.DataFrame) -> tuple[StudyLength, ...]:
    """The training lengths of a checked table, shortest first, with updates if it has them."""
    found = []
    for length, rows in scores.groupby(LENGTH, sort=True):
        updates: dict[str, int] = {}
        if UPDATES in rows and rows[UPDATES].notna().all():
            updates = {str(t): int(n) for t, n in rows.groupby("task")[UPDATES].max().items()}
        found.append(StudyLength(length=float(str(length)), updates=updates))
    return tuple(found)


@dataclass(frozen=True)
class Lengths:
    """The scores of a study at every training length.

    Attributes:
        basis: of the longest training.
        matrices: length -> scores.
        lengths: shortest first; the last is judged.
        diverged: length -> arm -> seeds whose training gave up.
    """

    basis: Basis
    matrices: Matrices
    lengths: Sequence[StudyLength]
    diverged: Mapping[float, Mapping[str, Sequence[int]]]

    def gains(
        self, stages: Sequence[Comparison], judged: Sequence[Effect]
    ) -> tuple[LengthGain, ...]:
        """The gain of every stage at every length, by length, task and stage.

        Args:
            stages: of the chain.
            judged: the stage effects of the longest, which are not computed again.
        """
        if not stages:
            return ()
        found: list[LengthGain] = []
        for known in self.lengths:
            effects = judged
            if known is not self.lengths[-1]:
                own = replace(
                    self.basis,
                    matrix=self.matrices[known.length],
                    diverged=self.diverged.get(known.length, {}),
                )
                effects = family_effects(own, stages, adjust=True)
            found.extend(_gain(effect, known) for effect in effects)
        return tuple(found)

    def changes(self, gains: Sequence[LengthGain]) -> tuple[LengthChange, ...]:
        """Whether the sign or the verdict of a stage differs between shortest and longest.

        A sign changes only if both intervals exclude 0 on opposite sides.
        """
        by_stage: dict[tuple[str, str, str], list[LengthGain]] = {}
        for gain in gains:
            by_stage.setdefault((gain.arm, gain.reference, gain.task), []).append(gain)
        level = self.basis.evaluation.level
        return tuple(
            _change(own, self.matrices, level) for own in by_stage.values() if len(own) > 1
        )


def _gain(effect: Effect, known: StudyLength) -> LengthGain:
    return LengthGain(
        arm=effect.arm,
        reference=effect.reference,
        component=effect.component,
        task=effect.task,
        length=known.length,
        updates=known.updates_on(effect.task),
        num_seeds=effect.num_seeds,
        difference=effect.difference,
        p_adjusted=effect.p_adjusted,
        verdict=effect.verdict,
        verdict_code=effect.verdict_code,
    )


def _change(own: Sequence[LengthGain], matrices: Matrices, level: float) -> LengthChange:
    first, last = own[0], own[-1]
    change = LengthChange(
        arm=last.arm,
        reference=last.reference,
        component=last.component,
        task=last.task,
        change=_paired_change(first, last, matrices, level),
        sign_changes=_side(first.difference) * _side(last.difference) < 0,
        verdict_changes=first.verdict_code != last.verdict_code,
    )
    return change.model_copy(update={"sentence": change_sentence(change, own, last.arm)})


def _side(interval: Interval | None) -> int:
    """1 or -1 if the interval lies on one side of 0."""
    if interval is None:
        return 0
    return int(interval.low > 0) - int(interval.high < 0)


def _paired_change(
    first: LengthGain, last: LengthGain, matrices: Matrices, level: float
) -> Interval | None:
    """Gain at the longest minus gain at the shortest, paired by seed and example."""
    short, long = matrices[first.length], matrices[last.length]
    tasks = long.tasks if last.task == MEAN_TASK else (last.task,)
    if short.seeds != long.seeds or first.difference is None or last.difference is None:
        return None
    values = {
        (f"{when} {arm}", task): matrix.values[arm, task]
        for when, matrix in (("short", short), ("long", long))
        for arm in (last.arm, last.reference)
        for task in tasks
    }
    shapes = {task: {v.shape for (_, t), v in values.items() if t == task} for task in tasks}
    if any(len(found) > 1 for found in shapes.values()):
        return None
    arms = tuple(dict.fromkeys(arm for arm, _ in values))
    both = ScoreMatrix(arms, tuple(tasks), long.seeds, values, {})
    weights = {
        f"long {last.arm}": 1.0,
        f"long {last.reference}": -1.0,
        f"short {last.arm}": -1.0,
        f"short {last.reference}": 1.0,
    }
    return contrast_interval(both, weights, tasks, level=level)


def change_sentence(change: LengthChange, gains: Sequence[LengthGain], name: str) -> str:
    """One sentence on a stage: whether its sign or its verdict depends on the length.

    Args:
        change: of the stage.
        gains: of the study.
        name: of the component or the arm, as the reader knows it.
    """
    stage = (change.arm, change.reference, change.task)
    own = [g for g in gains if (g.arm, g.reference, g.task) == stage]
    if any(gain.verdict_code == "not_judged" for gain in own):
        return f"{name}: {_figures(own)}."
    if change.sign_changes:
        return f"{name}'s gain changes sign: {_figures(own)}."
    if change.verdict_changes:
        return f"{name}'s verdict changes with the length: {_figures(own, with_verdicts=True)}."
    verdict = own[-1].verdict.partition(": ")[0]
    return f"{name}'s verdict is the same at every length ({verdict}): {_figures(own)}."


def _figures(gains: Sequence[LengthGain], *, with_verdicts: bool = False) -> str:
    return ", ".join(_figure(gain, with_verdict=with_verdicts) for gain in gains)


def _figure(gain: LengthGain, *, with_verdict: bool) -> str:
    when = f"{100 * gain.length:g} % of the training"
    if gain.updates is not None:
        when = f"{gain.updates:,} updates"
    found = "no interval"
    if gain.difference is not None:
        low, mid, high = (
            100 * x for x in (gain.difference.low, gain.difference.estimate, gain.difference.high)
        )
        found = f"{mid:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"
    verdict = f"{gain.verdict.partition(': ')[0]}, " if with_verdict else ""
    return f"{verdict}{found} at {when}"
