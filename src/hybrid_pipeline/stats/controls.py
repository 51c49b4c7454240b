"""Arms against the controls matched to them."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_pipeline.stats.contrasts import complete_seeds
from hybrid_pipeline.stats.effects import (
    Comparison,
    Setting,
    paired_variance,
    why_not_evaluable,
)
from hybrid_pipeline.stats.results import ControlRow
from hybrid_pipeline.stats.verdicts import beats_control


def control_rows(setting: Setting, controls: Mapping[str, str]) -> tuple[ControlRow, ...]:
    """Each arm minus the control matched to it.

    Args:
        setting: scores and levels.
        controls: control arm -> the arm it controls.
    """
    rows = []
    for control, arm in controls.items():
        comparison = Comparison("control", step=arm, against=control)
        for label, tasks in setting.groups():
            variance = paired_variance(setting, comparison, tasks)
            interval = None if variance is None else variance.interval(setting.evaluation.level)
            beats, words = beats_control(interval)
            if interval is None:
                words = f"not evaluable: {why_not_evaluable(setting, comparison, tasks)}"
            rows.append(
                ControlRow(
                    arm=arm,
                    control=control,
                    task=label,
                    difference=interval,
                    num_seeds=len(complete_seeds(setting.matrix, (arm, control), tasks)),
                    beats_control=beats,
                    verdict=words,
                )
            )
    return tuple(rows)
