"""rendered views -> frozen tokens in the feature store, and the handle that cells read."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.feature_caching.nodes import (
    cache_features,
    cache_random_features,
    gather_task_data,
)


def create_pipeline(tasks: Sequence[str], *, random_tower: bool = False) -> Pipeline:
    """Build the pipeline.

    Args:
        tasks: names of the tasks.
        random_tower: also extract with random weights, for the control of that name.
    """
    nodes, handles = [], []
    functions = {"features": cache_features}
    if random_tower:
        functions["random_features"] = cache_random_features
    for task in tasks:
        inputs = [f"data.{task}.table", f"data.{task}.views"]
        handles += inputs
        for kind, function in functions.items():
            handles.append(f"data.{task}.{kind}")
            nodes.append(
                Node(
                    function,
                    [*inputs, "params:clip", "params:storage"],
                    handles[-1],
                    name=f"cache_{kind}_{task}",
                    namespace="data",
                )
            )
    nodes.append(Node(gather_task_data, handles, "task_data", name="gather", namespace="data"))
    return Pipeline(nodes)
