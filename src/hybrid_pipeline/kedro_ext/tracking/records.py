"""From a study's results to what MLflow keeps of them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.kedro_ext.tracking.charts import ACCURACY
from hybrid_pipeline.kedro_ext.tracking.history import History
from hybrid_pipeline.kedro_ext.tracking.study import DatasetRecord, TrackedCell
from hybrid_pipeline.storage import content_key
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import CellResult


@dataclass(frozen=True)
class TaskRecord:
    """What the cells of a task saw: tags of tower and data, and the table."""

    tags: Mapping[str, str]
    dataset: DatasetRecord


def task_record(handle: TaskHandle) -> TaskRecord:
    """Read off a task's handle."""
    tower, table = handle.features_tower, handle.table
    tags = {
        "tower": "none" if tower is None else tower.name,
        "tower_key": "none" if tower is None else tower.key,
        "data_key": content_key(table, handle.views),
    }
    profile = handle.model_dump(include={"splits", "num_slots", "majority"}, exclude_unset=True)
    dataset = DatasetRecord(handle.task, table, f"03_primary/tables/{table}.parquet", profile)
    return TaskRecord(tags, dataset)


def record_of(
    result: CellResult,
    task: TaskRecord | None = None,
    history: Callable[[], History] | None = None,
) -> TrackedCell:
    """The final metrics of a result as ``final/...``, and its score under the task's name."""
    metrics = {f"final/{name}": value for name, value in _numbers(result).items()}
    tags = {"length": f"{result.length:g}", "components": _components(result.arm)}
    return TrackedCell(
        key=result.key,
        arm=result.arm,
        seed=result.seed,
        task=result.task,
        metrics=metrics | {f"{ACCURACY}/{result.task}": 100 * result.test_score},
        tags=tags | dict(task.tags if task is not None else {}),
        dataset=task.dataset if task is not None else None,
        history=history,
    )


def means_of(results: Sequence[CellResult]) -> dict[str, float]:
    """Means over seeds at the longest training as ``mean/<arm>/<task>/<metric>``."""
    values: dict[str, list[float]] = defaultdict(list)
    judged = max((result.length for result in results), default=1.0)
    for result in results:
        for name, value in _numbers(result).items() if result.length == judged else ():
            values[f"mean/{result.arm}/{result.task}/{name}"].append(value)
    return {name: statistics.fmean(items) for name, items in values.items()}


def _numbers(result: CellResult) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in result
        if name not in ("seed", "length") and isinstance(value, int | float)
    }


def _components(arm: str) -> str:
    try:
        return " ".join(find_arm(arm).components) or "none"
    except ValueError:  # a name of another study
        return "unknown"
