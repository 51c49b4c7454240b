"""Whether training had reached its plateau: what its last fifth added to the validation score.

A study that stops on the steep part of the learning curve measures who learns first. The rule is
read off validation scores, for all arms alike, and never looks at which arm wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from hybrid_pipeline.stats.results import MEAN_TASK, Plateau, PlateauRow

MAX_GAIN = 0.02
"""What the last fifth of training may add in any arm."""
LAST_SHARE = 0.2
BASELINE_RANGE = (0.15, 0.92)
"""Where the first arm must end, so that there is something to gain and something to gain on."""


def judge_plateau(
    validations: pd.DataFrame, arms: Sequence[str], others: Sequence[str] = ()
) -> Plateau | None:
    """Apply the rule to the curves of one training length.

    Args:
        validations: columns arm, seed, task, step, score; scores in [0, 1].
        arms: the judged ones, in order; the first is the baseline.
        others: controls and subsets, whose rows follow; the rule is that of ``arms``.

    Returns:
        ``None`` if no curve of the arms begins before the last fifth.
    """
    rows = tuple(_rows(validations, [*arms, *others]))
    single = [row for row in rows if row.task != MEAN_TASK and row.arm in arms]
    if not single:
        return None
    low, high = BASELINE_RANGE
    plateau = Plateau(
        rows=rows,
        reached=all(row.reached for row in single),
        baseline_in_range=all(low <= r.final <= high for r in single if r.arm == arms[0]),
    )
    return plateau.model_copy(update={"sentences": _sentences(plateau, arms)})


def _rows(validations: pd.DataFrame, arms: Sequence[str]) -> Iterator[PlateauRow]:
    """Per arm: the mean over its tasks, then each task; means over seeds."""
    for arm in arms:
        own = validations[validations["arm"] == arm]
        by_task = {
            str(task): np.array(ends)
            for task, group in own.groupby("task", sort=False)
            if (ends := [e for _, curve in group.groupby("seed") if (e := _ends(curve))])
        }
        if not by_task:
            continue
        seeds = {task: len(ends) for task, ends in by_task.items()}
        means = {task: ends.mean(axis=0) for task, ends in by_task.items()}
        overall = np.mean(list(means.values()), axis=0)
        yield _row(arm, MEAN_TASK, overall, min(seeds.values()))
        for task, ends in means.items():
            yield _row(arm, task, ends, seeds[task])


def _ends(curve: pd.DataFrame) -> tuple[float, float] | None:
    """The score before the last fifth, interpolated between validations, and at the end."""
    curve = curve.sort_values("step")
    step, score = curve["step"].to_numpy(float), curve["score"].to_numpy(float)
    before = (1 - LAST_SHARE) * step[-1]
    if step[0] > before:
        return None
    return float(np.interp(before, step, score)), float(score[-1])


def _row(arm: str, task: str, ends: np.ndarray, num_seeds: int) -> PlateauRow:
    before, final = (float(x) for x in ends)
    return PlateauRow(
        arm=arm,
        task=task,
        before=before,
        final=final,
        num_seeds=num_seeds,
        reached=round(final - before, 12) < MAX_GAIN,
    )


def _sentences(plateau: Plateau, arms: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know before any verdict; empty if the rule is met."""
    said = []
    rising = [row for row in plateau.single_tasks if not row.reached and row.arm in arms]
    if rising:
        steepest = max(rising, key=lambda row: row.last_fifth)
        named = {row.arm: None for row in rising}
        said.append(
            "This study measures early training: its last fifth still added "
            f"{100 * steepest.last_fifth:.1f} points to {steepest.arm} on {steepest.task} (the "
            f"rule: below {100 * MAX_GAIN:g}), so no comparison with "
            f"{' or '.join(named)} is judged. training.epochs lengthens it."
        )
    low, high = BASELINE_RANGE
    outside = [
        row for row in plateau.single_tasks if row.arm == arms[0] and not low <= row.final <= high
    ]
    said += [_outside(row) for row in outside]
    return tuple(said)


def _outside(row: PlateauRow) -> str:
    score = f"{row.arm} ends at {100 * row.final:.1f} % on {row.task} (validation)"
    if row.final < BASELINE_RANGE[0]:
        return f"{score}: too low to tell components apart. training.epochs lengthens training."
    return f"{score}: that leaves little to gain. Harder examples (tasks) would show more."
