"""All tasks of a cell, and reading the cells of a study back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import pandas as pd

from hybrid_pipeline.config import HaltingConfig, StorageConfig
from hybrid_pipeline.stats.policies import COLUMNS as HALTING_COLUMNS
from hybrid_pipeline.storage import Workspace, sealed_file
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.evaluation import halting_frame, read_answers
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.preparation import open_table, open_task_data
from hybrid_pipeline.training.result import Cell, finished_results, longest
from hybrid_pipeline.training.spec import CellSpec
from hybrid_pipeline.training.tracker import current_tracker


def run_cells(
    spec: CellSpec,
    task_data: Mapping[str, TaskHandle],
    storage: StorageConfig,
    *,
    setting: str = "",
) -> Cell:
    """Run one arm with one seed on every task, one model per task.

    Args:
        spec: the arm, the seed and how it is trained.
        task_data: the handle of every task.
        storage: where data and cells lie.
        setting: what a stability study calls the run.
    """
    random_tower = spec.arm.tower == "random"
    data = {
        task: open_task_data(handle, storage, random_tower=random_tower)
        for task, handle in sorted(task_data.items())
    }
    current_tracker().reads({task: asdict(one.shape) for task, one in data.items()})
    cells = Workspace(storage.root).cells
    results = [run_cell(spec, one, cells) for one in data.values()]
    return Cell(arm=spec.arm.name, seed=spec.seed, setting=setting, results=tuple(results))


def kept_file(key: str, name: str, storage: StorageConfig) -> Path:
    """A file of a finished cell, compared with its checksum.

    Raises:
        DamagedError: when it is missing or differs.
    """
    path = Workspace(storage.root).cells / key / name
    return sealed_file(path, "run the ablation again, which makes the cell again")


def load_scores(cells: Sequence[Cell], storage: StorageConfig) -> pd.DataFrame:
    """One tidy table of all per-example scores, in the order of the cells.

    ``length`` and ``updates`` say how long each was trained.
    """
    frames = []
    for result in finished_results(cells):
        frame = pd.read_parquet(kept_file(result.key, "scores.parquet", storage))
        frame["arm"] = result.arm  # equal cells of two arms share a folder
        frame.insert(4, "length", result.length)
        frame.insert(5, "updates", result.updates)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def load_curves(
    cells: Sequence[Cell], storage: StorageConfig, kind: Literal["updates", "validations"]
) -> pd.DataFrame:
    """Curves of all finished results with their arm, seed, task and length."""
    frames = []
    for result in finished_results(cells):
        frame = pd.read_parquet(kept_file(result.key, f"{kind}.parquet", storage))
        for name in ("length", "task", "seed", "arm"):
            frame.insert(0, name, getattr(result, name))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def load_halting(
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    storage: StorageConfig,
    halting: HaltingConfig,
) -> pd.DataFrame:
    """Scores and steps of every policy per example, for the arms that a DQN watched.

    Args:
        cells: of the study; the longest training of each counts.
        task_data: the handle of every task.
        storage: where tables and cells lie.
        halting: its ``step_cost`` and ``min_steps`` are the oracle's.

    Returns:
        The table of ``stats.halting.halting_rows``: columns arm, seed, task, example, policy,
        score, steps; without rows if no arm has a DQN.
    """
    judged = longest(cells)
    frames = []
    for result in finished_results([cell.at(judged) for cell in cells]):
        answers = read_answers(kept_file(result.key, "answers.npz", storage))
        if answers.halted_at is None:
            continue
        frame = halting_frame(
            answers,
            open_table(task_data[result.task].table, storage),
            result.metric,
            split="test",
            step_cost=halting.step_cost,
            min_steps=halting.min_steps,
            seed=result.seed,
        )
        identity = {name: getattr(result, name) for name in ("arm", "seed", "task")}
        frames.append(frame.assign(**identity)[HALTING_COLUMNS])
    empty = pd.DataFrame(columns=HALTING_COLUMNS)
    return pd.concat(frames, ignore_index=True) if frames else empty
