"""Every arm x every seed."""

from hybrid_pipeline.pipelines.ablation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
