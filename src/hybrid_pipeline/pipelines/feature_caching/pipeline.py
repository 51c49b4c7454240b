"""rendered views -> frozen tokens in the feature store, and the handle that cells read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.feature_caching.nodes import (
    cache_features,
    cache_random_features,
    gather_task_data,
)


def create_pipeline(
    tasks: Sequence[str], *, random_tower: bool = False, tags: Iterable[str] = ()
) -> Pipeline:
    """Build the pipeline.

    Args:
        tasks: names of the tasks.
        random_tower: also extract with random weights, for the control of that name.
        tags: of the nodes that extract.
    """
    functions: dict[str, Callable[..., Any]] = {"features": cache_features}
    if random_tower:
        functions["random_features"] = cache_random_features
    branches = [_branch(task, functions, list(tags)) for task in tasks]
    names = ["table", "views", *functions]
    handles = {f"{task}_{name}": f"data.{task}.{name}" for task in tasks for name in names}
    gather = Node(gather_task_data, list(handles), "task_data", name="gather")
    gathered = Pipeline([gather], namespace="data", inputs=handles, outputs={"task_data"})
    return sum(branches, gathered)


def _branch(task: str, functions: dict[str, Callable[..., Any]], tags: list[str]) -> Pipeline:
    inputs = ["views", "params:clip", "params:storage"]
    return Pipeline(
        [Node(f, inputs, kind, name=f"cache_{kind}", tags=tags) for kind, f in functions.items()],
        namespace=f"data.{task}",
        parameters={"params:clip", "params:storage"},
    )
