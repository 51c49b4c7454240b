"""task tables (to stay disjoint from) -> the bundled tower."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.clip_pretraining.nodes import pretrain_tower


def create_pipeline(tasks: Sequence[str]) -> Pipeline:
    """Build the pipeline.

    Args:
        tasks: names of the tasks whose examples the pretraining must not contain.
    """
    return Pipeline(
        [
            Node(
                pretrain_tower,
                [
                    "params:clip_pretraining",
                    "params:rendering",
                    "params:storage",
                    *(f"data.{task}.table" for task in tasks),
                ],
                "clip.card",
                name="pretrain",
                namespace="clip",
            )
        ]
    )
