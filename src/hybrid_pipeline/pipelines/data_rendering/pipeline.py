"""tables -> rendered noisy pairs, one branch per task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.data_rendering.nodes import build_task_table, render_task


def create_pipeline(tasks: Sequence[str]) -> Pipeline:
    """Build the pipeline.

    Args:
        tasks: names of the tasks in ``parameters/tasks.yml``.
    """
    nodes = []
    for task in tasks:
        build = partial(build_task_table, task)
        build.__name__ = "build_task_table"  # type: ignore[attr-defined]
        nodes += [
            Node(
                build,
                ["params:tasks", "params:storage"],
                f"data.{task}.table",
                name=f"build_{task}",
                namespace="data",
            ),
            Node(
                render_task,
                [f"data.{task}.table", "params:rendering", "params:storage"],
                f"data.{task}.views",
                name=f"render_{task}",
                namespace="data",
            ),
        ]
    return Pipeline(nodes)
