"""One arm, trained and evaluated."""

from hybrid_pipeline.pipelines.hybrid_training.pipeline import (
    cell_dataset,
    create_advice,
    create_pipeline,
)

__all__ = ["cell_dataset", "create_advice", "create_pipeline"]
