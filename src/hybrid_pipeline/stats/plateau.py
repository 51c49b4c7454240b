"""Whether training had reached its plateau: what its last fifth added to the validation score.

A study that stops on the steep part of the learning curve measures who learns first. The rule is
read off validation scores, for all arms alike, and never looks at which arm wins.

An arm still rises if its last fifth added the limit or more *beyond the noise between seeds*: if
the one-sided 95 % bound of the mean lies there. The noise is pooled over all arms and tasks, since
three seeds tell little of their own. Without it the rule is a lottery: the default study, repeated
with sums in another order, gave one arm 1.0 and 2.6 points (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from hybrid_pipeline.stats.results import MEAN_TASK, Plateau, PlateauRow

MAX_GAIN = 0.02
"""What the last fifth of training may add in any arm."""
CONFIDENCE = 0.95
"""Of the one-sided bound: how sure it must be that an arm still rises."""
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
    ends = {arm: _ends_by_task(validations[validations["arm"] == arm]) for arm in arms}
    noise = _margin_of_one_seed([e for by_task in ends.values() for e in by_task.values()])
    for arm, by_task in ends.items():
        if not by_task:
            continue
        overall = np.mean([e.mean(axis=0) for e in by_task.values()], axis=0)
        seeds = min(len(e) for e in by_task.values())
        yield _row(arm, MEAN_TASK, overall, seeds, noise / np.sqrt(seeds * len(by_task)))
        for task, e in by_task.items():
            yield _row(arm, task, e.mean(axis=0), len(e), noise / np.sqrt(len(e)))


def _ends_by_task(curves: pd.DataFrame) -> dict[str, np.ndarray]:
    """Task -> score before the last fifth and at the end, for each seed [seeds, 2]."""
    found = {}
    for task, group in curves.groupby("task", sort=False):
        ends = [e for _, curve in group.groupby("seed") if (e := _ends(curve))]
        if ends:
            found[str(task)] = np.array(ends)
    return found


def _ends(curve: pd.DataFrame) -> tuple[float, float] | None:
    """The score before the last fifth, interpolated between validations, and at the end."""
    curve = curve.sort_values("step")
    step, score = curve["step"].to_numpy(float), curve["score"].to_numpy(float)
    before = (1 - LAST_SHARE) * step[-1]
    if step[0] > before:
        return None
    return float(np.interp(before, step, score)), float(score[-1])


def _margin_of_one_seed(ends: Sequence[np.ndarray]) -> float:
    """From a seed's gain down to its bound: t times the standard deviation, pooled over groups."""
    gains = [e[:, 1] - e[:, 0] for e in ends]
    degrees = sum(len(gain) - 1 for gain in gains)
    if degrees < 1:
        return 0.0
    squares = sum(float(((gain - gain.mean()) ** 2).sum()) for gain in gains)
    return float(t.ppf(CONFIDENCE, degrees)) * float(np.sqrt(squares / degrees))


def _row(arm: str, task: str, ends: np.ndarray, num_seeds: int, margin: float) -> PlateauRow:
    before, final = (float(x) for x in ends)
    gain = round(final - before, 12)
    return PlateauRow(
        arm=arm,
        task=task,
        before=before,
        final=final,
        num_seeds=num_seeds,
        margin=margin,
        reached=gain - margin < MAX_GAIN,
        at_limit=gain - margin < MAX_GAIN <= gain,
    )


def _sentences(plateau: Plateau, arms: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know before any verdict; empty if no arm comes near the limit."""
    said = []
    rising = [row for row in plateau.single_tasks if not row.reached and row.arm in arms]
    if rising:
        steepest = max(rising, key=lambda row: row.last_fifth)
        named = {row.arm: None for row in rising}
        said.append(
            "This study measures early training: its last fifth still added "
            f"{_added(steepest)} (the rule: below {100 * MAX_GAIN:g}), so no comparison with "
            f"{' or '.join(named)} is judged. training.epochs lengthens it."
        )
    near = [row for row in plateau.single_tasks if row.at_limit and row.arm in arms]
    if near:
        they_are = "they are" if len({row.arm for row in near}) > 1 else "it is"
        said.append(
            f"The last fifth of training added {' and '.join(map(_added, near))}. The rule is "
            f"below {100 * MAX_GAIN:g}; the noise between seeds explains the rest, so {they_are} "
            "judged all the same. training.epochs lengthens it."
        )
    low, high = BASELINE_RANGE
    outside = [
        row for row in plateau.single_tasks if row.arm == arms[0] and not low <= row.final <= high
    ]
    said += [_outside(row) for row in outside]
    return tuple(said)


def _added(row: PlateauRow) -> str:
    return f"{100 * row.last_fifth:.1f} points to {row.arm} on {row.task}"


def _outside(row: PlateauRow) -> str:
    score = f"{row.arm} ends at {100 * row.final:.1f} % on {row.task} (validation)"
    if row.final < BASELINE_RANGE[0]:
        return f"{score}: too low to tell components apart. training.epochs lengthens training."
    return f"{score}: that leaves little to gain. Harder examples (tasks) would show more."
