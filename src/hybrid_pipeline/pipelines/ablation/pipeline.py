"""Every arm x every seed as cells, complete seed blocks, then one collector per arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
        ablation: seeds, budget and order.
        tags: of the nodes that train.
    """
    names = [arm.name for arm in arms]
    seeds = range(ablation.first_seed, ablation.first_seed + ablation.num_blocks)
    parts: list[Pipeline] = []
    for block, seed in enumerate(seeds):
        gate = f"blocks.gate_{block}" if ablation.is_gated else None
        if gate is not None:
            parts.append(_gate(block, names, seeds))
        shared = [f"block.{block}", *tags]
        parts += _block(seed, names, gate, ablation.order_seed, shared)
    parts += [_collector(name, seeds) for name in names]
    return sum(parts, Pipeline([]))


def _block(
    seed: int, names: Sequence[str], gate: str | None, order_seed: int, tags: Sequence[str]
) -> list[Pipeline]:
    """All arms of one seed, in random order, so that an interruption leaves complete blocks."""
    order = rng_for("arm_order", order_seed, seed).permutation(len(names))
    return [
        hybrid_training.create_pipeline(
            names[arm], seed, gate=gate, tags=[*tags, f"order.{position}"]
        )
        for position, arm in enumerate(order)
    ]


def _collector(name: str, seeds: Sequence[int]) -> Pipeline:
    cells = {f"cell_{seed}": f"{name}.seed_{seed}.cell" for seed in seeds}
    node = Node(collect_arm, list(cells), "results", name="collect")
    return Pipeline([node], namespace=name, inputs=cells)


def _gate(block: int, names: Sequence[str], seeds: Sequence[int]) -> Pipeline:
    before = {
        f"{name}_{seed}": f"{name}.seed_{seed}.cell" for seed in seeds[:block] for name in names
    }
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
        inputs=before,
        parameters=set(parameters),
    )
