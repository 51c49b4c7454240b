"""Arms against the controls matched to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_pipeline.stats.contrasts import complete_seeds
from hybrid_pipeline.stats.effects import (
    Basis,
    Comparison,
    paired_variance,
    why_not_evaluable,
)
from hybrid_pipeline.stats.intervals import Variance
from hybrid_pipeline.stats.multiplicity import holm
from hybrid_pipeline.stats.results import ControlRow
from hybrid_pipeline.stats.verdicts import beats_control


def control_rows(basis: Basis, controls: Mapping[str, str]) -> tuple[ControlRow, ...]:
    """Each arm minus the control matched to it, by control and then by task.

    Holm over the controls of the study, on each task and on the mean over tasks.

    Args:
        basis: scores and levels.
        controls: control arm -> the arm it controls.
    """
    comparisons = [Comparison("control", arm, control) for control, arm in controls.items()]
    by_task = [_rows_of_task(basis, comparisons, *group) for group in basis.groups()]
    return tuple(row for rows in zip(*by_task, strict=True) for row in rows)


def _rows_of_task(
    basis: Basis, comparisons: Sequence[Comparison], label: str, tasks: tuple[str, ...]
) -> list[ControlRow]:
    variances = [paired_variance(basis, comparison, tasks) for comparison in comparisons]
    p_values = [None if v is None else v.p_two_sided() for v in variances]
    return [
        _row(basis, comparison, label, tasks, variance, p)
        for comparison, variance, p in zip(comparisons, variances, holm(p_values), strict=True)
    ]


def _row(
    basis: Basis,
    comparison: Comparison,
    label: str,
    tasks: tuple[str, ...],
    variance: Variance | None,
    p_adjusted: float | None,
) -> ControlRow:
    interval = None if variance is None else variance.interval(basis.evaluation.level)
    beats, words = beats_control(interval, p_adjusted, basis.alpha)
    if interval is None:
        words = f"not evaluable: {why_not_evaluable(basis, comparison, tasks)}"
    pair = (comparison.arm, comparison.reference)
    return ControlRow(
        arm=comparison.arm,
        control=comparison.reference,
        task=label,
        difference=interval,
        num_seeds=len(complete_seeds(basis.matrix, pair, tasks)),
        p=None if variance is None else variance.p_two_sided(),
        p_adjusted=p_adjusted,
        beats_control=beats,
        verdict=words,
    )
