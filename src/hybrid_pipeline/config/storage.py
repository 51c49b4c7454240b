"""Where results lie."""

from __future__ import annotations

from pydantic import Field

from hybrid_pipeline.config.base import StrictConfig


class StorageConfig(StrictConfig):
    """The data folder; shared by all workers of a run."""

    root: str = Field(default="data", min_length=1)
