"""task data -> one cell: the template that the ablation places once per arm and seed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.hybrid_training.nodes import train_cell, train_gated_cell

SHARED = ["params:model", "params:training", "params:halting", "params:storage"]


def create_cell(arm: str, seed: int, *, gate: str | None = None, tags: Iterable[str] = ()) -> Node:
    """The node of one cell; every cell reads the same parameters by construction.

    Args:
        arm: name of the arm.
        seed: of the cell.
        gate: dataset that says whether this block of seeds runs.
        tags: for the runner's order.
    """
    function = partial(train_cell if gate is None else train_gated_cell, arm, seed)
    function.__name__ = "train_cell"  # type: ignore[attr-defined]
    namespace = f"{arm}.seed_{seed}"
    return Node(
        function,
        [*([gate] if gate else []), "task_data", *SHARED],
        f"{namespace}.cell",
        name="train",
        namespace=namespace,
        tags=["cell", f"arm.{arm}", f"seed.{seed}", *tags],
    )


def create_pipeline(arm: str, seed: int) -> Pipeline:
    """One arm with one seed, by ``training.arm`` and ``training.seed``."""
    return Pipeline([create_cell(arm, seed)])
