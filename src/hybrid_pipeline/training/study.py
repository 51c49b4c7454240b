"""All tasks of a cell, and reading the cells of a study back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.storage import Workspace
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.preparation import open_task_data
from hybrid_pipeline.training.spec import CellSpec


def run_cells(spec: CellSpec, task_data: dict[str, Any], storage: StorageConfig) -> dict[str, Any]:
    """Run one arm with one seed on every task, one model a task.

    Returns:
        The cell's record: arm, seed, status (``diverged`` if any task diverged) and, under
        ``tasks``, each task's result.
    """
    results = {}
    for task, handle in sorted(task_data.items()):
        data = open_task_data(handle, storage, random_tower=spec.arm.tower == "random")
        results[task] = run_cell(spec, data, Workspace(storage.root).cells)
    diverged = [task for task, result in results.items() if result["status"] != "done"]
    return {
        "arm": spec.arm.name,
        "seed": spec.seed,
        "status": "diverged" if diverged else "done",
        "reason": "; ".join(f"{task}: {results[task]['reason']}" for task in diverged),
        "tasks": results,
    }


def finished_results(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results (arm x seed x task) that have scores."""
    results = [r for record in records for r in record.get("tasks", {}).values()]
    return [r for r in results if r["status"] == "done"]


def load_scores(records: Sequence[Mapping[str, Any]], storage: StorageConfig) -> pd.DataFrame:
    """One tidy table of all per-example scores, in the order of the records."""
    return _load("scores", records, storage)


def load_curves(
    records: Sequence[Mapping[str, Any]], storage: StorageConfig, kind: str
) -> pd.DataFrame:
    """Curves of all cells with their arm, seed and task; ``updates`` or ``validations``."""
    return _load(kind, records, storage)


def _load(kind: str, records: Sequence[Mapping[str, Any]], storage: StorageConfig) -> pd.DataFrame:
    frames = []
    for result in finished_results(records):
        path = Workspace(storage.root).cells / result["key"] / f"{kind}.parquet"
        frame = pd.read_parquet(path)
        if kind != "scores":
            frame.insert(0, "task", result["task"])
            frame.insert(0, "seed", result["seed"])
            frame.insert(0, "arm", result["arm"])
        else:  # equal cells of two arms share a folder
            frame["arm"] = result["arm"]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
