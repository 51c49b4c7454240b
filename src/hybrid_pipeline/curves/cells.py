"""Curves of trained cells, read back from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybrid_pipeline.config import StorageConfig, TrainingConfig
from hybrid_pipeline.curves.curve import StabilityCurve, curve_from_frames
from hybrid_pipeline.storage import Workspace


def read_curves(
    records: Sequence[Mapping[str, Any]],
    training: TrainingConfig,
    storage: StorageConfig,
    *,
    task_data: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[StabilityCurve]:
    """The curves of trained cells, one a task; a cell that gave up has what it wrote until then.

    Args:
        records: of the cells, under ``tasks`` each task's result; ``setting`` names the curve, or
            ``arm`` where there is none.
        training: gives the epochs of a run.
        storage: where the cells lie.
        task_data: task -> its handle; tells the number of validation examples and the score that no
            learning reaches.
    """
    results = [(record, r) for record in records for r in record.get("tasks", {}).values()]
    planned: dict[str, int] = {}
    for _, result in results:
        steps = int(result.get("num_steps", 0))
        planned[result["task"]] = max(planned.get(result["task"], 0), steps)
    curves = []
    for record, result in results:
        task, folder = result["task"], Workspace(storage.root).cells / result["key"]
        updates, validations = (
            pd.read_parquet(folder / f"{kind}.parquet") for kind in ("updates", "validations")
        )
        steps = planned[task] or len(updates)
        curves.append(
            curve_from_frames(
                updates,
                validations,
                setting=str(record.get("setting", record["arm"])),
                seed=int(record["seed"]),
                task=task,
                final_score=result.get("test_score"),
                planned_steps=steps,
                gave_up=result["status"] == "diverged",
                steps_per_epoch=max(1.0, steps / training.epochs),
                **_of_handle((task_data or {}).get(task)),
            )
        )
    return curves


def _of_handle(handle: Mapping[str, Any] | None) -> dict[str, Any]:
    if handle is None:
        return {}
    metric = handle["primary_metric"]
    return {
        "num_validation": int(handle["splits"]["validation"]),
        "baseline": max(handle["majority"][metric], handle["chance_scores"][metric]),
    }
