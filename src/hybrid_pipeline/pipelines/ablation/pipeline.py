"""Every arm x every seed as cells, complete seed blocks, then one collector per arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import AblationConfig
from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.kedro_ext.progress import ANNOUNCE_TAG
from hybrid_pipeline.pipelines import hybrid_training
from hybrid_pipeline.pipelines.ablation.nodes import collect_arm, open_block
from hybrid_pipeline.seeding import rng_for


def create_pipeline(
    arms: Sequence[Arm], ablation: AblationConfig, *, tags: Iterable[str] = ()
) -> Pipeline:
    """Build the pipeline.

    Args:
        arms: of the design, in order.
        ablation: seeds, lengths, budget and order.
        tags: of the nodes that train.
    """
    names = [arm.name for arm in arms]
    seeds = range(ablation.first_seed, ablation.first_seed + ablation.num_blocks)
    parts: list[Pipeline] = []
    for block, seed in enumerate(seeds):
        gate = f"blocks.gate_{block}" if ablation.is_gated else None
        if gate is not None:
            parts.append(_gate(block, _cells(names, seeds[:block], ablation)))
        shared = [f"block.{block}", *tags]
        parts += _block(seed, names, gate, ablation, shared)
    parts += [_collector(name, _cells([name], seeds, ablation)) for name in names]
    return sum(parts, Pipeline([]))


def _block(
    seed: int,
    names: Sequence[str],
    gate: str | None,
    ablation: AblationConfig,
    tags: Sequence[str],
) -> list[Pipeline]:
    """All arms of one seed, in random order, so that an interruption leaves complete blocks.

    The longest training comes first: what ends last should not begin last.
    """
    order = rng_for("arm_order", ablation.order_seed, seed).permutation(len(names))
    runs = product(reversed(ablation.lengths), order)
    return [
        hybrid_training.create_pipeline(
            names[arm], seed, length, gate=gate, tags=[*tags, f"order.{position}"]
        )
        for position, (length, arm) in enumerate(runs)
    ]


def _cells(names: Sequence[str], seeds: Sequence[int], ablation: AblationConfig) -> dict[str, str]:
    """The name of an argument -> the cell that it takes."""
    cells = (hybrid_training.cell_dataset(*run) for run in product(names, seeds, ablation.lengths))
    return {cell.replace(".", "_"): cell for cell in cells}


def _collector(name: str, cells: Mapping[str, str]) -> Pipeline:
    node = Node(collect_arm, list(cells), "cells", name="collect")
    return Pipeline([node], namespace=name, inputs=dict(cells))


def _gate(block: int, before: Mapping[str, str]) -> Pipeline:
    parameters = ["params:ablation", "params:evaluation"]
    node = Node(
        bind(open_block, block),
        [*parameters, *before],
        f"gate_{block}",
        name=f"open_{block}",
        tags=ANNOUNCE_TAG,
    )
    return Pipeline(
        [node],
        namespace="blocks",
        inputs=dict(before),
        parameters=set(parameters),
    )
