"""Measured minutes, apart from the report: only they differ between two runs of one study.

``report.html`` is the same byte by byte whether or not a run was interrupted, so minutes stand only
in ``minutes.json`` and in the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.terminal import terminal_text
from hybrid_pipeline.training.result import Cell, finished_results, longest

Minutes = dict[str, dict[str, float]]


def training_minutes(cells: Sequence[Cell]) -> Minutes:
    """Mean measured minutes of the longest training of a seed, by arm and task."""
    judged = longest(cells)
    trained = finished_results(cell.at(judged) for cell in cells)
    frame = pd.DataFrame(
        [(r.arm, r.task, r.seconds / 60) for r in trained],
        columns=["arm", "task", "minutes"],
    )
    minutes: Minutes = {}
    for arm, by_arm in frame.groupby("arm", sort=True):
        means = by_arm.groupby("task", sort=True)["minutes"].mean()
        minutes[str(arm)] = {str(task): float(value) for task, value in means.items()}
    return minutes


def summary_text(inputs: ReportInputs, minutes: Minutes) -> str:
    """The arms as plain lines for the terminal, with minutes and the tower's disclosure."""
    lines = [terminal_text(inputs.results, minutes).rstrip()]
    if inputs.tower is not None:
        lines.append(inputs.tower.said)
    return "\n".join(lines) + "\n"
