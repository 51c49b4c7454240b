"""task data -> one cell: the template that the ablation places once per arm, seed and length."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.config.ablation import length_name
from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.pipelines.hybrid_training.nodes import (
    advise_on_cell,
    train_cell,
    train_gated_cell,
)

SHARED = {"params:model", "params:training", "params:halting", "params:storage"}


def cell_dataset(arm: str, seed: int, length: float = 1.0) -> str:
    """The dataset of one arm with one seed at one length."""
    return f"{arm}.seed_{seed}.cell_{length_name(length)}"


def create_pipeline(
    arm: str,
    seed: int,
    length: float = 1.0,
    *,
    gate: str | None = None,
    tags: Iterable[str] = (),
) -> Pipeline:
    """One cell at one length; every cell reads the same parameters by construction.

    Args:
        arm: name of the arm.
        seed: of the cell.
        length: share of ``training.epochs``.
        gate: dataset that says whether this block of seeds runs.
        tags: for the runner's order.
    """
    parameters = ["params:model", "params:training", "params:halting", "params:storage"]
    inputs, outer = ["task_data"], {"task_data": "task_data"}
    if gate is not None:
        inputs, outer = ["gate", "task_data"], outer | {"gate": gate}
    run, name = (arm, seed, length), length_name(length)
    node = Node(
        bind(train_cell, run) if gate is None else bind(train_gated_cell, run),
        [*inputs, *parameters],
        f"cell_{name}",
        name=f"train_{name}",
        tags=["cell", f"arm.{arm}", f"seed.{seed}", f"length.{length:g}", *tags],
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
        inputs={"cell": cell_dataset(arm, seed), "task_data": "task_data"},
        parameters=set(parameters),
    )
