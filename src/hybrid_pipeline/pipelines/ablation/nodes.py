"""Collect the cells of an arm; decide whether the next block of seeds runs."""

from __future__ import annotations

import logging
from typing import Any

from hybrid_pipeline.config import AblationConfig, EvaluationConfig

logger = logging.getLogger(__name__)


def collect_arm(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of one arm in order of their seeds."""
    return sorted(cells, key=lambda cell: cell["seed"])


def open_block(
    block: int, ablation: AblationConfig, evaluation: EvaluationConfig, *cells: dict[str, Any]
) -> dict[str, Any]:
    """Whether the block of seeds with this number runs, given the blocks before it."""
    from hybrid_pipeline.stats.gate import decide_block

    decision = decide_block(block, cells, ablation, evaluation)
    logger.warning("Block %d of seeds: %s", block + 1, decision["reason"])
    return decision
