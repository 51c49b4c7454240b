"""The bundled tower, made again."""

from hybrid_pipeline.pipelines.clip_pretraining.pipeline import create_pipeline

__all__ = ["create_pipeline"]
