"""Adapter between the catalog and the pretraining of the bundled tower."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import ClipPretrainingConfig, RenderingConfig, StorageConfig
from hybrid_pipeline.training.handles import TaskHandle


def pretrain_tower(
    clip_pretraining: ClipPretrainingConfig,
    rendering: RenderingConfig,
    storage: StorageConfig,
    *tables: TaskHandle,
) -> dict[str, Any]:
    """Pretrain a small open_clip model on strings that no task poses; return its card."""
    from hybrid_pipeline.training.preparation import prepare_tower

    return prepare_tower(clip_pretraining, rendering, storage, tables)
