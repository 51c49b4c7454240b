"""Adapters between the catalog and the training room."""

from __future__ import annotations

from typing import Any

from hybrid_pipeline.config import (
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell


def train_cell(
    run: tuple[str, int, float],
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    storage: StorageConfig,
) -> Cell:
    """Train and evaluate one arm with one seed at one length on every task.

    A known key is read back.
    """
    from hybrid_pipeline.training.learner import Learner
    from hybrid_pipeline.training.study import run_cells

    arm, seed, length = run
    spec = Learner(training, halting, model).cell(arm, seed)
    return run_cells(spec.at(length), task_data, storage)


def train_gated_cell(
    run: tuple[str, int, float],
    gate: dict[str, Any],
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    storage: StorageConfig,
) -> Cell:
    """The same where a budget or a sequential design decides whether this block runs."""
    if not gate["run"]:
        return Cell(arm=run[0], seed=run[1], not_run=gate["reason"])
    return train_cell(run, task_data, model, training, halting, storage)


def advise_on_cell(
    cell: Cell,
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    storage: StorageConfig,
) -> tuple[str, str]:
    """What the curves of one cell suggest: a page, and a list for the terminal."""
    from hybrid_pipeline.advisor.study import (
        RunSettings,
        notes_markdown,
        notes_text,
        study_advice,
    )

    run = RunSettings(training, halting, model, review.advisor)
    notes, num_runs = study_advice([cell], task_data, run, storage), len(cell.results)
    title = f"# What the curves of {cell.arm}, seed {cell.seed}, suggest"
    return f"{title}\n\n{notes_markdown(notes, num_runs)}", notes_text(notes, num_runs)
