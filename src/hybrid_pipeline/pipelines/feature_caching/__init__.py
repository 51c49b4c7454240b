"""Frozen tokens of both views, computed once."""

from hybrid_pipeline.pipelines.feature_caching.pipeline import create_pipeline

__all__ = ["create_pipeline"]
