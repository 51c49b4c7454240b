"""Where results lie."""

from __future__ import annotations

from pydantic import Field

from hybrid_pipeline.config.base import BoundedConfig, PathText


class StorageConfig(BoundedConfig):
    """The data folder; shared by all workers of a run."""

    root: PathText = "data"
    reference: PathText | None = Field(
        default=None,
        description="folder with the kept files of a finished study, from which the report is made",
    )
