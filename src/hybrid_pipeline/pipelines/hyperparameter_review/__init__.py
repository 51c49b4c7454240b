"""Review the resolved hyperparameters by rule."""

from hybrid_pipeline.pipelines.hyperparameter_review.pipeline import create_pipeline

__all__ = ["create_pipeline"]
