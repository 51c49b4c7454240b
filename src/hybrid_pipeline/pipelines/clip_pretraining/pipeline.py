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
    tables = {f"{task}_table": f"data.{task}.table" for task in tasks}
    parameters = ["params:clip_pretraining", "params:rendering", "params:storage"]
    node = Node(pretrain_tower, [*parameters, *tables], "card", name="pretrain")
    return Pipeline([node], namespace="clip", inputs=tables, parameters=set(parameters))
