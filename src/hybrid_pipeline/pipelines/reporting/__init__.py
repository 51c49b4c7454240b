"""Scores become effects, verdicts and the report."""

from hybrid_pipeline.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
