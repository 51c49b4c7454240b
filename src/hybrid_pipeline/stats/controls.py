"""Arms against the controls matched to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_pipeline.stats.contrasts import complete_seeds
from hybrid_pipeline.stats.effects import (
    Comparison,
    Setting,
    paired_variance,
    why_not_evaluable,
)
from hybrid_pipeline.stats.intervals import Variance
from hybrid_pipeline.stats.multiplicity import holm
from hybrid_pipeline.stats.results import ControlRow
from hybrid_pipeline.stats.verdicts import beats_control


def control_rows(setting: Setting, controls: Mapping[str, str]) -> tuple[ControlRow, ...]:
    """Each arm minus the control matched to it, by control and then by task.

    Holm over the controls of the study, on each task and on the mean over tasks.

    Args:
        setting: scores and levels.
        controls: control arm -> the arm it controls.
    """
    comparisons = [Comparison("control", arm, control) for control, arm in controls.items()]
    by_task = [_rows_of_task(setting, comparisons, *group) for group in setting.groups()]
    return tuple(row for rows in zip(*by_task, strict=True) for row in rows)


def _rows_of_task(
    setting: Setting, comparisons: Sequence[Comparison], label: str, tasks: tuple[str, ...]
) -> list[ControlRow]:
    variances = [paired_variance(setting, comparison, tasks) for comparison in comparisons]
    p_values = [None if v is None else v.p_two_sided() for v in variances]
    return [
        _row(setting, comparison, label, tasks, variance, p)
        for comparison, variance, p in zip(comparisons, variances, holm(p_values), strict=True)
    ]


def _row(
    setting: Setting,
    comparison: Comparison,
    label: str,
    tasks: tuple[str, ...],
    variance: Variance | None,
    p_holm: float | None,
) -> ControlRow:
    interval = None if variance is None else variance.interval(setting.evaluation.level)
    beats, words = beats_control(interval, p_holm, setting.alpha)
    if interval is None:
        words = f"not evaluable: {why_not_evaluable(setting, comparison, tasks)}"
    pair = (comparison.step, comparison.against)
    return ControlRow(
        arm=comparison.step,
        control=comparison.against,
        task=label,
        difference=interval,
        num_seeds=len(complete_seeds(setting.matrix, pair, tasks)),
        p=None if variance is None else variance.p_two_sided(),
        p_holm=p_holm,
        beats_control=beats,
        verdict=words,
    )
