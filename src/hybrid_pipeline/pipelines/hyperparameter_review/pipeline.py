"""Wiring of the hyperparameter review."""

from __future__ import annotations

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hybrid_pipeline.pipelines.hyperparameter_review.nodes import review_hyperparameters


def create_pipeline(**_: Any) -> Pipeline:
    """Parameters and the comments of their files in, a review as JSON, Markdown and text out."""
    return pipeline(
        [
            node(
                review_hyperparameters,
                inputs=[
                    "params:tasks",
                    "params:training",
                    "params:halting",
                    "params:model",
                    "params:clip",
                    "params:review",
                    "configuration_files",
                ],
                outputs=[
                    "hyperparameter_review",
                    "hyperparameter_review_page",
                    "hyperparameter_review_summary",
                ],
                name="review_hyperparameters",
                tags=["review"],
            )
        ]
    )
