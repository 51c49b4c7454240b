"""Collect the cells of an arm; decide whether the next block of seeds runs."""

from __future__ import annotations

import logging
from typing import Any

from hybrid_pipeline.config import AblationConfig, EvaluationConfig, StorageConfig

logger = logging.getLogger(__name__)


def collect_arm(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of one arm in order of their seeds."""
    return sorted(cells, key=lambda cell: cell["seed"])


def open_block(
    block: int,
    task_data: dict[str, Any],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    storage: StorageConfig,
    *cells: dict[str, Any],
) -> dict[str, Any]:
    """Whether the block of seeds with this number runs, given the blocks before it."""
    from hybrid_pipeline.report.blocks import decide_block

    decision = decide_block(block, cells, task_data, ablation, evaluation, storage)
    sentence = decision.get("plan", decision).get("sentence", decision["reason"])
    logger.info("Block %d of seeds: %s", block + 1, sentence)
    return decision
