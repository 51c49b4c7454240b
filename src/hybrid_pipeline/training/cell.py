"""One cell of the study - arm x seed - on one task: train, evaluate, keep under its key.

A finished cell is a sealed folder: ``checksums.json``, written last, has a checksum of every file.
A cell that was killed has a checkpoint and goes on from it; a cell whose key is known is read back
and nothing is computed. A cell or a checkpoint that is damaged is set aside and made again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from hybrid_pipeline.models.hybrid import HybridModel, build_model
from hybrid_pipeline.stats.policies import ORACLE
from hybrid_pipeline.storage import (
    LOCKS,
    DamagedError,
    is_whole,
    locked,
    seal,
    set_aside,
    write_atomically,
)
from hybrid_pipeline.training.capture import own_stream
from hybrid_pipeline.training.checkpoint import CHECKPOINT
from hybrid_pipeline.training.cost import flops_per_example
from hybrid_pipeline.training.evaluation import Answers, Evaluation, evaluate, halting_frame
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.logs import TrainingLog
from hybrid_pipeline.training.loop import Trained, Trainer, TrainingDivergedError
from hybrid_pipeline.training.precision import choose_device, make_deterministic
from hybrid_pipeline.training.result import (
    CellResult,
    DivergedResult,
    ParameterCounts,
    PolicyScore,
    read_result,
    write_result,
)
from hybrid_pipeline.training.room import room_on
from hybrid_pipeline.training.spec import CellSpec
from hybrid_pipeline.training.stages import Stages, run_stages
from hybrid_pipeline.training.tracker import current_tracker
from hybrid_pipeline.training.turns import TURNS


def run_cell(spec: CellSpec, data: TaskData, root: Path) -> CellResult | DivergedResult:
    """Train and evaluate a cell on one task, or read back what is there.

    A second process that is to make the same cell waits and then reads it.

    Args:
        spec: the cell.
        data: the task.
        root: folder of all cells; this one gets a folder named by its key.

    Returns:
        What ``result.json`` holds, under the arm and the length that the caller names.
    """
    device, folder = choose_device(spec.training.device), root / spec.key(data)
    asked = time.perf_counter()

    def compute() -> CellResult | DivergedResult:
        with TURNS.taken(), own_stream(device):
            return _run_cell(spec, data, folder, time.perf_counter() - asked)

    # Two arms may have a cell in common. Who waits for it has neither the turn nor room meanwhile.
    with TURNS.left(), locked(root / LOCKS / folder.name):
        return compute() if device.type == "cpu" else room_on(device).run(compute)


def _run_cell(
    spec: CellSpec, data: TaskData, folder: Path, waited: float
) -> CellResult | DivergedResult:
    finished = folder / "result.json"
    if is_whole(folder, "the cell is trained again"):
        (folder / CHECKPOINT).unlink(missing_ok=True)  # of a run killed when it had just ended
        known = read_result(finished)
        score = known.test_score if isinstance(known, CellResult) else None
        current_tracker().progress(1, 1, score, "cached")
        return known.model_copy(update={"arm": spec.arm.name, "length": spec.length})
    tags = {"task": data.table.name, "length": f"{spec.length:g}"}
    current_tracker().begin(key=folder.name, params=spec.parameters(), tags=tags)
    try:
        trained, stages = _train_or_restart(spec, data, folder)
    except TrainingDivergedError as error:
        _keep_curves(folder, error.log)
        result: CellResult | DivergedResult = DivergedResult(
            **_identity(spec, data, folder.name),
            reason=str(error),
            seconds=error.seconds,
            cell_seconds=waited + error.seconds,
        )
    else:
        result = _evaluate(spec, data, folder, trained, stages, waited)
    write_result(finished, result)
    seal(folder, leave=(CHECKPOINT,))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def _identity(spec: CellSpec, data: TaskData, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "arm": spec.arm.name,
        "seed": spec.seed,
        "task": data.table.name,
        "length": spec.length,
        "metric": data.table.primary_metric,
    }


def _train_or_restart(spec: CellSpec, data: TaskData, folder: Path) -> tuple[Trained, Stages]:
    """Go on from the checkpoint; from the start, label-free stage included, if it is damaged."""
    checkpoint = folder / CHECKPOINT
    try:
        return _train(spec, data, folder)
    except DamagedError as error:
        if error.path != checkpoint:
            raise
        set_aside(error, checkpoint, "the cell is trained from its start")
    return _train(spec, data, folder)


def _train(spec: CellSpec, data: TaskData, folder: Path) -> tuple[Trained, Stages]:
    folder.mkdir(parents=True, exist_ok=True)
    make_deterministic(spec.training)
    model = build_model(spec.arm, spec.model, data.shape, seed=spec.seed)
    metric = data.table.primary_metric

    def validate(candidate: HybridModel) -> dict[str, float]:
        found = evaluate(candidate, data, "validation", agent=None)
        return {"score": found.scores.mean(metric), "loss": found.loss, **found.metrics}

    checkpoint = folder / CHECKPOINT
    stages = run_stages(spec, data, model, folder.parent / "stages")
    trainer = Trainer(
        model,
        data,
        spec.training,
        spec.halting,
        seed=spec.seed,
        checkpoint=checkpoint,
        validate=validate,
    )
    return trainer.run(), stages


def _evaluate(
    spec: CellSpec, data: TaskData, folder: Path, trained: Trained, stages: Stages, waited: float
) -> CellResult:
    started = time.perf_counter()
    metric, model = data.table.primary_metric, trained.model
    test = evaluate(model, data, "test", agent=trained.agent)
    _keep(spec, data, folder, trained, test)
    halted = test.scores if test.halted is None else test.halted
    seconds = stages.seconds + trained.seconds
    result = CellResult(
        **_identity(spec, data, folder.name),
        updates=trained.num_steps,
        test_score=test.scores.mean(metric),
        test_correct=test.scores.mean("correct"),
        test_slots=test.scores.mean("slots"),
        mean_steps=float(halted.supervision_steps.mean()),
        policies=_policies(spec, data, test.answers),
        validation_score=trained.log.validations[-1]["score"],
        parameters=ParameterCounts.model_validate(trained.parameters),
        flops_per_example=flops_per_example(model),
        metrics={**test.metrics, **stages.metrics},
        seconds=seconds,
        cell_seconds=waited + seconds + time.perf_counter() - started,
    )
    tracker = current_tracker()
    tracker.log_metrics(
        {
            "final/test_score": result.test_score,
            "final/mean_steps": result.mean_steps,
            "best/validation_score": max(row["score"] for row in trained.log.validations),
            "cost/flops_per_example": result.flops_per_example,
            "cost/trainable_parameters": result.parameters.trainable,
        },
        trained.num_steps,
    )
    tracker.progress(1, 1, result.test_score, "done")
    return result


def _policies(spec: CellSpec, data: TaskData, answers: Answers) -> dict[str, PolicyScore]:
    """Mean score and steps of the DQN and of other ways to choose a depth; empty without a DQN."""
    if answers.halted_at is None:
        return {}
    frame = halting_frame(
        answers,
        data.table,
        data.table.primary_metric,
        split="test",
        step_cost=spec.halting.step_cost,
        min_steps=spec.halting.min_steps,
        seed=spec.seed,
    )
    return {
        str(name): PolicyScore(
            score=float(part["score"].mean()),
            mean_steps=float(part["steps"].mean()),
            reads_labels=name == ORACLE,
        )
        for name, part in frame.groupby("policy", sort=False)
    }


def _keep(spec: CellSpec, data: TaskData, folder: Path, trained: Trained, test: Evaluation) -> None:
    example = data.table.example[data.table.rows("test")]
    task = data.table.name
    scores = test.scores.to_frame(arm=spec.arm.name, seed=spec.seed, task=task, example=example)
    write_parquet(folder / "scores.parquet", scores)
    arrays: dict[str, Any] = dict(test.answers.arrays())
    write_atomically(folder / "answers.npz", lambda file: np.savez_compressed(file, **arrays))
    _keep_curves(folder, trained.log)
    _keep_weights(folder / "weights.safetensors", trained.model)
    if trained.agent is not None:
        _keep_weights(folder / "policy.safetensors", trained.agent.q)


def _keep_weights(path: Path, module: torch.nn.Module) -> None:
    weights = {k: v.contiguous().cpu().clone() for k, v in module.state_dict().items()}
    write_atomically(path, lambda file: file.write(save(weights)))


def _keep_curves(folder: Path, log: TrainingLog) -> None:
    write_parquet(folder / "updates.parquet", log.updates_frame())
    write_parquet(folder / "validations.parquet", log.validations_frame())


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table so that it is there whole or not at all."""
    write_atomically(path, lambda file: frame.to_parquet(file, index=False))
