"""tables -> rendered noisy pairs, one branch per task."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.pipelines.data_rendering.nodes import build_task_table, render_task


def create_pipeline(tasks: Sequence[str]) -> Pipeline:
    """Build the pipeline.

    Args:
        tasks: names of the tasks in ``parameters/tasks.yml``.
    """
    branches = [
        Pipeline(
            [
                Node(
                    bind(build_task_table, task),
                    ["params:tasks", "params:storage"],
                    "table",
                    name="build",
                ),
                Node(
                    render_task,
                    ["table", "params:rendering", "params:storage"],
                    "views",
                    name="render",
                ),
            ],
            namespace=f"data.{task}",
            parameters={"params:tasks", "params:rendering", "params:storage"},
        )
        for task in tasks
    ]
    return sum(branches, Pipeline([]))
