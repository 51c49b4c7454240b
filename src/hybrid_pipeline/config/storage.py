"""Where results lie."""

from __future__ import annotations

from hybrid_pipeline.config.base import PathText, StrictConfig


class StorageConfig(StrictConfig):
    """The data folder; shared by all workers of a run."""

    root: PathText = "data"
