"""tables -> rendered noisy pairs, one branch per task."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.pipelines.data_rendering.nodes import (
    build_task_table,
    describe_data,
    draw_contact_sheet,
    render_task,
)


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
                Node(
                    draw_contact_sheet,
                    ["table", "views", "params:storage"],
                    "contact_sheet",
                    name="draw_contact_sheet",
                ),
            ],
            namespace=f"data.{task}",
            parameters={"params:tasks", "params:rendering", "params:storage"},
        )
        for task in tasks
    ]
    return sum(branches, Pipeline([]))


def create_description(tasks: Sequence[str]) -> Pipeline:
    """What the data are: rows, splits, classes and majority of every task.

    Args:
        tasks: names of the tasks in ``parameters/tasks.yml``.
    """
    tables = {f"{task}_table": f"data.{task}.table" for task in tasks}
    node = Node(describe_data, list(tables), ["page", "summary"], name="describe")
    return Pipeline([node], namespace="data", inputs=tables)
