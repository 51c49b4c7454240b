"""task data -> one cell: the template that the ablation places once per arm and seed."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.pipelines.hybrid_training.nodes import (
    advise_on_cell,
    train_cell,
    train_gated_cell,
)

SHARED = {"params:model", "params:training", "params:halting", "params:storage"}


def create_pipeline(
    arm: str, seed: int, *, gate: str | None = None, tags: Iterable[str] = ()
) -> Pipeline:
    """One cell; every cell reads the same parameters by construction.

    Args:
        arm: name of the arm.
        seed: of the cell.
        gate: dataset that says whether this block of seeds runs.
        tags: for the runner's order.
    """
    parameters = ["params:model", "params:training", "params:halting", "params:storage"]
    inputs, outer = ["task_data"], {"task_data": "task_data"}
    if gate is not None:
        inputs, outer = ["gate", "task_data"], outer | {"gate": gate}
    node = Node(
        bind(train_cell, arm, seed) if gate is None else bind(train_gated_cell, arm, seed),
        [*inputs, *parameters],
        "cell",
        name="train",
        tags=["cell", f"arm.{arm}", f"seed.{seed}", *tags],
    )
    return Pipeline([node], namespace=f"{arm}.seed_{seed}", inputs=outer, parameters=SHARED)


def create_advice(arm: str, seed: int) -> Pipeline:
    """What follows a cell that is trained alone: advice from its curves.

    The ablation and the stability study advise on all their cells together.
    """
    parameters = [
        f"params:{name}" for name in ("model", "training", "halting", "review", "storage")
    ]
    node = Node(
        advise_on_cell, ["cell", "task_data", *parameters], ["page", "summary"], name="advise"
    )
    return Pipeline(
        [node],
        namespace="advice",
        inputs={"cell": f"{arm}.seed_{seed}.cell", "task_data": "task_data"},
        parameters=set(parameters),
    )
