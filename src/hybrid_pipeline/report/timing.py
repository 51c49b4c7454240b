"""Measured minutes, apart from the report: they alone differ between two runs of one study.

``report.html`` is the same byte by byte whether or not a run was interrupted. Where ``minutes.js``
lies beside it, the page fills its two columns of minutes from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from hybrid_pipeline.report.arm_tables import OPEN, arms_table
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.terminal import terminal_text
from hybrid_pipeline.report.wording import NONE, main_task
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


def minutes_script(inputs: ReportInputs, minutes: Minutes) -> str:
    """The sidecar ``minutes.js``: the text of every cell that the page left open.

    Args:
        inputs: of the report, without times.
        minutes: from ``training_minutes``.
    """
    timed = _with_times(inputs, minutes)
    tables = [arms_table(timed, main_task(inputs.results))]
    if len(inputs.results.tasks) > 1:
        tables += [arms_table(timed, task, f"arms-{task}") for task in inputs.results.tasks]
    texts = {
        cell.slot: cell.text for table in tables for row in table.rows for cell in row if cell.slot
    }
    texts = {slot: NONE if text == OPEN else text for slot, text in texts.items()}
    return f"window.reportMinutes = {json.dumps(texts, indent=1, sort_keys=True)};\n"


def summary_text(inputs: ReportInputs, minutes: Minutes) -> str:
    """The arms as plain lines for the terminal, with minutes and the tower's disclosure."""
    lines = [terminal_text(inputs.results, minutes).rstrip()]
    if inputs.tower is not None:
        lines.append(inputs.tower.sentence)
    return "\n".join(lines) + "\n"


def _with_times(inputs: ReportInputs, minutes: Minutes) -> ReportInputs:
    cells = tuple(
        cell.model_copy(update={"training_seconds": 60 * minutes[cell.arm][cell.task]})
        for cell in inputs.cells
    )
    return inputs.model_copy(update={"cells": cells})
