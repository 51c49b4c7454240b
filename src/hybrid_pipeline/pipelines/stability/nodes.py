"""Adapters between the catalog, the training room and the stability review."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import (
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell


def train_setting(
    run: tuple[str, int],
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
    storage: StorageConfig,
) -> Cell:
    """Train the full model under one (setting, seed)."""
    from hybrid_pipeline.stability.study import setting_spec
    from hybrid_pipeline.training.learner import Learner
    from hybrid_pipeline.training.study import run_cells

    setting, seed = run
    learner = Learner(training, halting, model)
    spec = setting_spec(setting, seed, learner, review.document, stability)
    chosen = {k: v for k, v in task_data.items() if stability.tasks is None or k in stability.tasks}
    return run_cells(spec, chosen, storage, setting=setting)


def report_stability(
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
    storage: StorageConfig,
    task_data: dict[str, TaskHandle],
    *cells: Cell,
) -> tuple[dict[str, Any], str, str, dict[str, Any], dict[str, Any]]:
    """Metrics, effects, promises and advice of all runs: JSON, page, summary, findings, figures."""
    from hybrid_pipeline.advisor.study import RunSettings
    from hybrid_pipeline.stability.study import stability_documents, stability_key

    run = RunSettings(training, halting, model, review.advisor)
    results, page, summary, findings, figures = stability_documents(
        run, review.document, stability, storage, cells, task_data
    )
    findings["key"] = stability_key(run, review.document, stability)
    return results, page, summary, findings, figures
