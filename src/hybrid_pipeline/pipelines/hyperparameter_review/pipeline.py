"""Wiring of the hyperparameter review."""

from __future__ import annotations

from typing import Any

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.hyperparameter_review.nodes import (
    count_model,
    gather_evidence,
    review_hyperparameters,
)

NAME = "hyperparameter_review"
CONFIGS = [f"params:{name}" for name in ("training", "halting", "model", "clip")]


def create_pipeline(**_: Any) -> Pipeline:
    """Parameters in, a review as JSON, Markdown and text out.

    The stability study's findings are read where an earlier run left some.
    """
    model, clip, review = "params:model", "params:clip", "params:review"
    nodes = [
        Node(
            count_model,
            ["params:tasks", "params:rendering", model, clip, review],
            f"{NAME}_counts",
            name="count_model",
            tags=["review"],
        ),
        Node(
            gather_evidence,
            [
                f"{NAME}_counts",
                "findings",
                model,
                "params:training",
                "params:halting",
                review,
                "params:stability",
            ],
            f"{NAME}_evidence",
            name="gather_evidence",
            tags=["review"],
        ),
        Node(
            review_hyperparameters,
            ["params:tasks", *CONFIGS, review, f"{NAME}_evidence"],
            [NAME, f"{NAME}_page", f"{NAME}_summary"],
            name="review_hyperparameters",
            tags=["review"],
        ),
    ]
    return Pipeline(nodes, inputs={"findings": "stability.findings"})
