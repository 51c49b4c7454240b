"""Tasks become tables, tables become rendered images in two noisy views."""

from hybrid_pipeline.pipelines.data_rendering.pipeline import create_description, create_pipeline

__all__ = ["create_description", "create_pipeline"]
