"""Whether the next block of seeds runs: a time budget, or a ladder of looks.

Decisions follow from the records of finished cells alone, so a rerun decides the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import AblationConfig, EvaluationConfig, StorageConfig
from hybrid_pipeline.report.study import analyse_records
from hybrid_pipeline.stats.analysis import chain_of
from hybrid_pipeline.stats.budget import (
    decide_look,
    may_start_block,
    noisiest_stage,
    plan_budget,
)
from hybrid_pipeline.stats.scores import ScoreMatrix
from hybrid_pipeline.training.study import finished_results, load_scores

Records = Sequence[Mapping[str, Any]]


def decide_block(
    block: int,
    records: Records,
    task_data: Mapping[str, Any],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    """Decide about block ``block`` (from 0) of a budgeted or sequential study.

    Args:
        block: its number.
        records: the cells of all blocks before it.
        task_data: primary metric and chance of every task.
        ablation: budget or looks.
        evaluation: levels.
        storage: where the scores of the cells lie.

    Returns:
        ``run`` and ``reason``; after the pilots of a budget also ``plan``, with the smallest effect
        that the whole study can find.
    """
    stopped = next((r["reason"] for r in records if r["status"] == "not_run"), None)
    if stopped is not None:
        return {"run": False, "reason": stopped}
    if ablation.sequential:
        return _after_look(block, records, task_data, ablation, evaluation, storage)
    return _within_budget(block, records, task_data, ablation, evaluation, storage)


def _after_look(
    block: int,
    records: Records,
    task_data: Mapping[str, Any],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    if block not in ablation.looks:
        return {"run": True, "reason": f"no look at {block} seeds"}
    scores = load_scores(records, storage)
    results = analyse_records(scores, records, task_data, ablation, evaluation, {}, {})
    decision = decide_look(results, ablation.looks)
    return {"run": not decision.stop, "reason": decision.reason}


def _within_budget(
    block: int,
    records: Records,
    task_data: Mapping[str, Any],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    if block < ablation.num_pilot_blocks:
        return {"run": True, "reason": f"pilot {block + 1} of {ablation.num_pilot_blocks}"}
    budget, minutes = ablation.time_budget_minutes or 0.0, block_minutes(records)
    decision = may_start_block(minutes, budget, sum(minutes))
    answer: dict[str, Any] = {"run": decision.start, "reason": decision.reason}
    if block == ablation.num_pilot_blocks:
        metrics = {task: handle["primary_metric"] for task, handle in task_data.items()}
        matrix = ScoreMatrix.from_table(load_scores(records, storage), metrics)
        names = list(dict.fromkeys(r["arm"] for r in records))
        arms = [find_arm(name) for name in names]
        chain = chain_of(
            names,
            {arm.name: arm.components for arm in arms if arm.control_of is None},
            {arm.name: arm.control_of for arm in arms if arm.control_of is not None},
        )
        noise = noisiest_stage(matrix, chain)
        plan = plan_budget(minutes, budget, noise, alpha=round(1 - evaluation.level, 12))
        answer["plan"] = plan.model_dump(mode="json")
    return answer


def block_minutes(records: Records) -> list[float]:
    """Minutes of each block of seeds, its cells spread over the cores of this machine."""
    seeds = list(dict.fromkeys(r["seed"] for r in records))
    cores = os.cpu_count() or 1
    minutes = []
    for seed in seeds:
        cells = [r for r in records if r["seed"] == seed]
        seconds = sum(float(r["seconds"]) for r in finished_results(cells))
        minutes.append(seconds / 60 / min(cores, len(cells)))
    return minutes
