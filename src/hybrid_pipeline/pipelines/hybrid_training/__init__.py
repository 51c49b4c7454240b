"""One arm, trained and evaluated."""

from hybrid_pipeline.pipelines.hybrid_training.pipeline import create_advice, create_pipeline

__all__ = ["create_advice", "create_pipeline"]
