"""Adapters between the catalog and the features room."""

from __future__ import annotations

from hybrid_pipeline.config import ClipConfig, StorageConfig
from hybrid_pipeline.training.handles import TaskHandle


def cache_features(views: TaskHandle, clip: ClipConfig, storage: StorageConfig) -> TaskHandle:
    """Frozen tokens of both views of one task; what is cached is not computed again."""
    from hybrid_pipeline.training.preparation import prepare_features

    return prepare_features(views, clip, storage)


def cache_random_features(
    views: TaskHandle, clip: ClipConfig, storage: StorageConfig
) -> TaskHandle:
    """The same from a tower of the same architecture with random weights: a control."""
    from hybrid_pipeline.training.preparation import prepare_features

    return prepare_features(views, clip, storage, random_tower=True)


def gather_task_data(*handles: TaskHandle) -> dict[str, TaskHandle]:
    """One handle per task to everything a cell reads: table, views and features."""
    gathered: dict[str, TaskHandle] = {}
    for handle in handles:
        before = gathered.get(handle.task)
        gathered[handle.task] = handle if before is None else before | handle
    return gathered
