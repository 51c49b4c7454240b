"""Adapters between the catalog and the features room."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import ClipConfig, StorageConfig


def cache_features(
    table: dict[str, Any],
    views: dict[str, Any],
    clip: ClipConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    """Frozen tokens of both views of one task; what is cached is not computed again."""
    from hybrid_pipeline.training.preparation import prepare_features

    return prepare_features(table, views, clip, storage)


def cache_random_features(
    table: dict[str, Any],
    views: dict[str, Any],
    clip: ClipConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    """The same from a tower of the same architecture with random weights: a control."""
    from hybrid_pipeline.training.preparation import prepare_features

    return prepare_features(table, views, clip, storage, random_tower=True)


def gather_task_data(*handles: dict[str, Any]) -> dict[str, Any]:
    """One handle to everything a cell reads: task -> table, views and features."""
    gathered: dict[str, Any] = {}
    for handle in handles:
        entry = gathered.setdefault(handle["task"], {})
        entry.update({k: v for k, v in handle.items() if k != "task"})
    return gathered
