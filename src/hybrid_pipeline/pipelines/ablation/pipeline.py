"""Every arm x every seed as cells, complete seed blocks, then one collector per arm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import AblationConfig
from hybrid_pipeline.pipelines.ablation.nodes import collect_arm, open_block
from hybrid_pipeline.pipelines.hybrid_training.pipeline import create_cell
from hybrid_pipeline.seeding import rng_for


def create_pipeline(arms: Sequence[Arm], ablation: AblationConfig) -> Pipeline:
    """Build the pipeline.

    Args:
        arms: of the design, in order.
        ablation: seeds, budget and order.
    """
    names = [arm.name for arm in arms]
    seeds = range(ablation.first_seed, ablation.first_seed + ablation.num_blocks)
    nodes: list[Node] = []
    for block, seed in enumerate(seeds):
        gate = None
        if ablation.is_gated:
            gate = f"blocks.gate_{block}"
            nodes.append(_gate(block, gate, names, seeds))
        nodes += _block(block, seed, names, gate, ablation.order_seed)
    nodes += [
        Node(
            collect_arm,
            [f"{name}.seed_{seed}.cell" for seed in seeds],
            f"{name}.results",
            name="collect",
            namespace=name,
        )
        for name in names
    ]
    return Pipeline(nodes)


def _block(
    block: int, seed: int, names: Sequence[str], gate: str | None, order_seed: int
) -> list[Node]:
    """All arms of one seed, in random order, so that an interruption leaves complete blocks."""
    order = rng_for("arm_order", order_seed, seed).permutation(len(names))
    return [
        create_cell(names[arm], seed, gate=gate, tags=[f"block.{block}", f"order.{position}"])
        for position, arm in enumerate(order)
    ]


def _gate(block: int, gate: str, names: Sequence[str], seeds: Sequence[int]) -> Node:
    before = [f"{name}.seed_{seed}.cell" for seed in seeds[:block] for name in names]
    settings = ["params:ablation", "params:evaluation", "params:storage"]
    decide = partial(open_block, block)
    decide.__name__ = "open_block"  # type: ignore[attr-defined]
    return Node(
        decide,
        ["task_data", *settings, *before],
        gate,
        name=f"open_{block}",
        namespace="blocks",
    )
