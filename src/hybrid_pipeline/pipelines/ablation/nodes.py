"""Collect the cells of an arm; decide whether the next block of seeds runs."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.kedro_ext.devices import cells_at_once
from hybrid_pipeline.training.result import Cell, merge_cells


def collect_arm(*parts: Cell) -> list[Cell]:
    """The cells of one arm in order of their seeds."""
    return sorted(merge_cells(parts), key=lambda cell: cell.seed)


def open_block(
    block: int, ablation: AblationConfig, evaluation: EvaluationConfig, *cells: Cell
) -> dict[str, Any]:
    """Whether the block of seeds with this number runs, given the blocks before it."""
    from hybrid_pipeline.training.gate import decide_block

    slots = cells_at_once.get()
    decision = decide_block(block, cells, ablation, evaluation, cells_at_once=slots)
    if any(cell.status == "not_run" for cell in cells):
        return decision  # an earlier block was refused, and the reason is its own
    return decision | {"reason": f"Block {block + 1} of seeds: {decision['reason']}"}
