"""Curves of trained cells, read back from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybrid_pipeline.config import StorageConfig, TrainingConfig
from hybrid_pipeline.curves.curve import StabilityCurve, curve_from_frames
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell, CellResult, finished_results, longest
from hybrid_pipeline.training.study import kept_file


def read_curves(
    cells: Sequence[Cell],
    training: TrainingConfig,
    storage: StorageConfig,
    *,
    task_data: Mapping[str, TaskHandle] | None = None,
) -> list[StabilityCurve]:
    """The curves of trained cells at their longest training, one per task.

    A cell that gave up has what it wrote until then.

    Args:
        cells: of one study; ``setting`` names the curve, or ``arm`` if there is none.
        training: gives the epochs of a run.
        storage: where the cells lie.
        task_data: task -> its handle; tells the number of validation examples and the score that no
            learning reaches.
    """
    judged = longest(cells)
    cells = [cell.at(judged) for cell in cells]
    planned: dict[str, int] = {}
    for done in finished_results(cells):
        planned[done.task] = max(planned.get(done.task, 0), done.updates)
    curves = []
    for cell, result in ((owner, r) for owner in cells for r in owner.results):
        task = result.task
        updates, validations = (
            pd.read_parquet(kept_file(result.key, f"{kind}.parquet", storage))
            for kind in ("updates", "validations")
        )
        steps = planned.get(task, 0) or len(updates)
        curves.append(
            curve_from_frames(
                updates,
                validations,
                setting=cell.setting or cell.arm,
                seed=cell.seed,
                task=task,
                final_score=result.test_score if isinstance(result, CellResult) else None,
                planned_steps=steps,
                gave_up=result.status == "diverged",
                steps_per_epoch=max(1.0, steps / (judged * training.epochs)),
                **_of_handle((task_data or {}).get(task)),
            )
        )
    return curves


def _of_handle(handle: TaskHandle | None) -> dict[str, Any]:
    if handle is None:
        return {}
    return {"num_validation": handle.splits["validation"], "baseline": handle.guessing}
