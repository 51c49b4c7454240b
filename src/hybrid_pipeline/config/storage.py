"""Where results lie."""

from __future__ import annotations

from hybrid_pipeline.config.base import BoundedConfig, PathText


class StorageConfig(BoundedConfig):
    """The data folder; shared by all workers of a run."""

    root: PathText = "data"
