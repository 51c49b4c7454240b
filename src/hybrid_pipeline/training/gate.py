"""Whether the next block of seeds runs: a time budget, or looks at the corrected level.

The gate sees the mean score of every cell, not its examples: a paired t test over seeds, for which
the level of the ladder was simulated. The report's verdicts use examples too.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.stats.analysis import chain_of
from hybrid_pipeline.stats.budget import (
    LookDecision,
    decide,
    may_start_block,
    noisiest_stage,
    plan_budget,
    sequential_evaluation,
    undecided_steps,
)
from hybrid_pipeline.stats.effects import Basis, Comparison, family_effects
from hybrid_pipeline.stats.scores import ScoreMatrix
from hybrid_pipeline.training.result import Cell, diverged_seeds, longest


def decide_block(
    block: int,
    cells: Sequence[Cell],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    *,
    cells_at_once: int = 1,
) -> dict[str, Any]:
    """Whether the block of seeds with this number (from 0) runs.

    Args:
        block: number of the block, which is the number of blocks before it.
        cells: all cells of the blocks before it, or parts of them.
        ablation: budget or looks.
        evaluation: level and delta.
        cells_at_once: how many cells the run trains at the same time.

    Returns:
        ``run``, ``reason`` and, where it was made, the ``plan`` or the ``look``.
    """
    refused = next((cell for cell in cells if cell.status == "not_run"), None)
    if refused is not None:
        return {"run": False, "reason": refused.not_run}
    if ablation.time_budget_minutes is not None:
        minutes = block_minutes(cells, cells_at_once)
        return _within_budget(block, cells, minutes, ablation, evaluation)
    if ablation.sequential and block >= min(ablation.looks):
        return _at_look(block, cells, ablation, evaluation)
    return {"run": True, "reason": f"{block} blocks are done."}


def _within_budget(
    block: int,
    cells: Sequence[Cell],
    minutes: Sequence[float],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    budget = ablation.time_budget_minutes or 0.0
    if block < ablation.num_pilot_blocks:
        return {"run": True, "reason": f"pilot block {block + 1} of {ablation.num_pilot_blocks}"}
    decision = may_start_block(minutes, budget, sum(minutes))
    found = {"run": decision.start, "reason": decision.reason}
    if block > ablation.num_pilot_blocks:
        return found
    matrix = seed_means(cells)
    noise = None if matrix is None else noisiest_stage(matrix, _chain(cells))
    alpha = 1 - evaluation.level
    plan = plan_budget(minutes, budget, noise, alpha=alpha, max_blocks=ablation.num_blocks)
    found["reason"] = f"{plan.sentence} {decision.reason}"
    return found | {"plan": plan.model_dump(mode="json")}


def _at_look(
    block: int, cells: Sequence[Cell], ablation: AblationConfig, evaluation: EvaluationConfig
) -> dict[str, Any]:
    if block not in ablation.looks and block < max(ablation.looks):
        return {"run": True, "reason": f"{block} blocks are done; no look before the next."}
    decision = look(cells, ablation, evaluation)
    found = {"run": not decision.stop, "reason": decision.reason}
    return found | {"look": decision.model_dump(mode="json")}


def look(
    cells: Sequence[Cell], ablation: AblationConfig, evaluation: EvaluationConfig
) -> LookDecision:
    """One look of the ladder at the finished cells."""
    num_seeds = len({cell.seed for cell in cells})
    chain, matrix = _chain(cells), seed_means(cells)
    stages = [Comparison("stage", new, old) for old, new in pairwise(chain)]
    if matrix is None:
        return decide(num_seeds, tuple(stage.arm for stage in stages), ablation.looks)
    diverged = diverged_seeds(cells)
    corrected = sequential_evaluation(evaluation, ablation.looks)
    effects = family_effects(Basis(matrix, corrected, {}, diverged), stages, adjust=True)
    mean_effects = effects[: len(stages)]  # the mean over tasks comes first
    return decide(num_seeds, undecided_steps(mean_effects), ablation.looks)


def block_minutes(cells: Sequence[Cell], cells_at_once: int = 1) -> list[float]:
    """Minutes of each block, in order of the seeds: the next cell takes the first free slot.

    Each length of a cell counts by itself, with what it took when it was computed, so a rerun
    decides the same. The longest starts last, whatever the order was: the estimate is rather too
    long.

    Args:
        cells: of the blocks, or parts of them.
        cells_at_once: how many cells run at the same time.
    """
    blocks: dict[int, list[float]] = {}
    for cell in cells:
        for length in dict.fromkeys(result.length for result in cell.results):
            seconds = sum(result.cell_seconds for result in cell.at(length).results)
            blocks.setdefault(cell.seed, []).append(seconds / 60)
    return [_minutes_side_by_side(blocks[seed], cells_at_once) for seed in sorted(blocks)]


def _minutes_side_by_side(minutes: Sequence[float], cells_at_once: int) -> float:
    slots = [0.0] * cells_at_once
    for duration in sorted(minutes):
        heapq.heapreplace(slots, slots[0] + duration)
    return max(slots)


def seed_means(cells: Sequence[Cell]) -> ScoreMatrix | None:
    """Mean scores at the longest training as a matrix with one column; ``None`` without any."""
    judged = longest(cells)
    done = [r for cell in cells for r in cell.at(judged).finished if not cell.at(judged).failures]
    if not done:
        return None
    seeds = sorted({cell.seed for cell in cells})
    tasks = tuple(dict.fromkeys(result.task for result in done))
    arms = tuple(dict.fromkeys(cell.arm for cell in cells))
    values = {(arm, task): np.full((len(seeds), 1), np.nan) for arm in arms for task in tasks}
    for result in done:
        values[result.arm, result.task][seeds.index(result.seed), 0] = result.test_score
    return ScoreMatrix(arms, tasks, tuple(seeds), values, {})


def _chain(cells: Sequence[Cell]) -> tuple[str, ...]:
    arms = [find_arm(name) for name in dict.fromkeys(cell.arm for cell in cells)]
    controls = [arm.name for arm in arms if arm.control_of is not None]
    sets = {arm.name: arm.components for arm in arms}
    return chain_of([arm.name for arm in arms], sets, controls)
