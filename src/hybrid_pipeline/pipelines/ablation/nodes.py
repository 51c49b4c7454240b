"""Collect the cells of an arm; decide whether the next block of seeds runs."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.kedro_ext.devices import cells_at_once


def collect_arm(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of one arm in order of their seeds."""
    return sorted(cells, key=lambda cell: cell["seed"])


def open_block(
    block: int, ablation: AblationConfig, evaluation: EvaluationConfig, *cells: dict[str, Any]
) -> dict[str, Any]:
    """Whether the block of seeds with this number runs, given the blocks before it."""
    from hybrid_pipeline.stats.gate import decide_block

    slots = cells_at_once.get()
    decision = decide_block(block, cells, ablation, evaluation, cells_at_once=slots)
    if any(cell["status"] == "not_run" for cell in cells):
        return decision  # an earlier block was refused, and the reason is its own
    return decision | {"reason": f"Block {block + 1} of seeds: {decision['reason']}"}
