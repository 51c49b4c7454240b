"""Original against corrected settings, trained and compared."""

from hybrid_pipeline.pipelines.stability.pipeline import create_pipeline

__all__ = ["create_pipeline"]
