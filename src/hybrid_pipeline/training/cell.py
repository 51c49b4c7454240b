"""One cell of the study - arm x seed - on one task: train, evaluate, keep under its key.

A finished cell is a folder with ``result.json`` in it, written last. A cell that was killed has a
checkpoint and goes on from it; a cell whose key is known is read back and nothing is computed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from hybrid_pipeline.arms import Arm, relevant_model
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.models.hybrid import HybridModel, build_model
from hybrid_pipeline.models.n2n import NoiseAdapter, fit_adapter, view_errors
from hybrid_pipeline.seeding import rng_for, seed_for
from hybrid_pipeline.storage import (
    code_fingerprint,
    content_key,
    library_versions,
    read_json,
    write_atomically,
    write_json_atomically,
)
from hybrid_pipeline.training.cost import flops_per_example, parameter_counts
from hybrid_pipeline.training.evaluation import Evaluation, evaluate
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.logs import TrainingLog
from hybrid_pipeline.training.loop import Trained, Trainer, TrainingDivergedError
from hybrid_pipeline.training.precision import choose_device, make_deterministic
from hybrid_pipeline.training.tracker import current_tracker

CODE = ("models", "halting", "training", "arms.py", "seeding.py")
LIBRARIES = ("torch", "numpy", "timm")
NOT_IN_KEY = {"arm", "seed", "checkpoint_interval_steps"}
HELD_OUT_VIEWS = 256


@dataclass(frozen=True)
class CellSpec:
    """What makes a cell: the arm, the seed and every parameter that reaches them."""

    arm: Arm
    seed: int
    model: ModelConfig
    training: TrainingConfig
    halting: HaltingConfig

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters that reach this cell; two cells differ in these or not at all."""
        arm = {k: v for k, v in vars(self.arm).items() if k not in ("name", "control_of")}
        if not self.arm.has("trm"):
            arm.pop("halting")
        parameters: dict[str, Any] = {
            "arm": arm | {"components": list(self.arm.components)},
            "seed": self.seed,
            "model": relevant_model(self.arm, self.model),
            "training": self.training.model_dump(mode="json", exclude=NOT_IN_KEY),
        }
        if self.arm.has("trm") and self.arm.halting == "dqn":
            parameters["halting"] = self.halting.model_dump(mode="json")
        return parameters

    def key(self, data: TaskData) -> str:
        """The content key on one task: parameters, data, frozen features, code and libraries."""
        uses_tower = self.arm.has("clip") or self.arm.backbone == "wide_vit"
        features = data.features.key if uses_tower and data.features is not None else None
        return content_key(
            self.parameters(),
            data.table.key,
            data.images.key,
            features,
            code_fingerprint(*CODE),
            library_versions(*LIBRARIES),
        )


def run_cell(spec: CellSpec, data: TaskData, root: Path) -> dict[str, Any]:
    """Train and evaluate a cell on one task, or read back what is there.

    Args:
        spec: the cell.
        data: the task.
        root: folder of all cells; this one gets a folder named by its key.

    Returns:
        The content of ``result.json``: status ``done`` or ``diverged``, test and validation scores,
        policies, parameters, FLOPs, component metrics and two times: ``seconds`` of training, the
        N2N stage included, and ``cell_seconds`` with the evaluation; interruptions are left out.
    """
    folder = root / spec.key(data)
    finished = folder / "result.json"
    if finished.exists():
        result: dict[str, Any] = read_json(finished)
        current_tracker().progress(1, 1, result.get("test_score"), "cached")
        return result
    current_tracker().begin(
        key=folder.name, params=spec.parameters(), tags={"task": data.table.name}
    )
    try:
        trained, stage = _train(spec, data, folder)
    except TrainingDivergedError as error:
        _keep_curves(folder, error.log)
        result = _identity(spec, data, folder.name) | {"status": "diverged", "reason": str(error)}
        result |= {"seconds": error.seconds, "cell_seconds": error.seconds}
    else:
        result = _identity(spec, data, folder.name) | {"status": "done"}
        result |= _evaluate(spec, data, folder, trained, stage)
    write_json_atomically(finished, result)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return result


def _identity(spec: CellSpec, data: TaskData, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "arm": spec.arm.name,
        "seed": spec.seed,
        "task": data.table.name,
        "metric": data.table.primary_metric,
    }


@dataclass(frozen=True)
class _AdapterStage:
    """The N2N stage that came before training: its metrics and how long it took."""

    metrics: dict[str, float]
    seconds: float


def _train(spec: CellSpec, data: TaskData, folder: Path) -> tuple[Trained, _AdapterStage]:
    folder.mkdir(parents=True, exist_ok=True)
    make_deterministic(spec.training)
    model = build_model(spec.arm, spec.model, data.shape, seed=spec.seed)
    metric = data.table.primary_metric

    def validate(candidate: HybridModel) -> dict[str, float]:
        scored = evaluate(candidate, data, "validation", agent=None, metric=metric, seed=spec.seed)
        return {"score": scored.full_depth.mean(metric), "loss": scored.loss, **scored.metrics}

    checkpoint = folder / "checkpoint.pt"
    stage = _fit_adapter(spec, data, model, folder)
    trainer = Trainer(
        model,
        data,
        spec.training,
        spec.halting,
        seed=spec.seed,
        checkpoint=checkpoint,
        validate=validate,
    )
    return trainer.run(), stage


def _fit_adapter(spec: CellSpec, data: TaskData, model: HybridModel, folder: Path) -> _AdapterStage:
    """The label-free N2N stage on training rows, then its error on held-out views."""
    if not spec.arm.has("n2n") or spec.arm.adapter != "n2n":
        return _AdapterStage({}, 0.0)
    started, config = time.perf_counter(), spec.model.n2n
    train, held_out = data.table.rows("train"), data.table.rows("validation")[:HELD_OUT_VIEWS]
    known = folder / "adapter.json"
    if known.exists() and (folder / "checkpoint.pt").exists():
        kept = read_json(known)
        return _AdapterStage(kept["metrics"], kept["seconds"])

    def pair(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = rng_for("n2n_order", spec.seed, step).choice(
            train, min(config.batch_size, len(train)), replace=False
        )
        return _views(data, rows)

    adapter = cast(NoiseAdapter, model.adapter).requires_grad_(True)
    device = choose_device(spec.training.device)
    history = fit_adapter(adapter, pair, config, seed_for("n2n_stage", spec.seed), device)
    adapter.requires_grad_(False)
    adapter.zero_grad(set_to_none=True)  # the learner's clipping must not see this stage
    metrics = history.metrics() | view_errors(adapter, *_views(data, held_out))
    current_tracker().log_metrics(metrics, 0)
    stage = _AdapterStage(metrics, time.perf_counter() - started)
    write_json_atomically(known, vars(stage))
    return stage


def _views(data: TaskData, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (
        torch.from_numpy(data.tokens(rows, np.full(len(rows), view))) for view in (0, 1)
    )
    return first, second


def _evaluate(
    spec: CellSpec, data: TaskData, folder: Path, trained: Trained, stage: _AdapterStage
) -> dict[str, Any]:
    started = time.perf_counter()
    metric, model = data.table.primary_metric, trained.model
    test = evaluate(model, data, "test", agent=trained.agent, metric=metric, seed=spec.seed)
    _keep(spec, data, folder, trained, test)
    result: dict[str, Any] = {
        "test_score": test.halted.mean(metric),
        "test_correct": test.halted.mean("correct"),
        "test_slots": test.halted.mean("slots"),
        "test_full_depth": test.full_depth.mean(metric),
        "mean_steps": float(test.halted.supervision_steps.mean()),
        "policies": test.policies,
        "validation_score": trained.log.validations[-1]["score"],
        "num_steps": trained.num_steps,
        "parameters": parameter_counts(model),
        "flops_per_example": flops_per_example(model),
        "metrics": {**test.metrics, **stage.metrics},
        "seconds": stage.seconds + trained.seconds,
    }
    result["cell_seconds"] = result["seconds"] + time.perf_counter() - started
    tracker = current_tracker()
    tracker.log_metrics(
        {
            "final/test_score": result["test_score"],
            "final/test_full_depth": result["test_full_depth"],
            "final/mean_steps": result["mean_steps"],
            "best/validation_score": max(row["score"] for row in trained.log.validations),
            "cost/flops_per_example": result["flops_per_example"],
            "cost/trainable_parameters": result["parameters"]["trainable"],
        },
        trained.num_steps,
    )
    tracker.progress(1, 1, result["test_score"], "done")
    return result


def _keep(spec: CellSpec, data: TaskData, folder: Path, trained: Trained, test: Evaluation) -> None:
    example = data.table.example[data.table.rows("test")]
    task = data.table.name
    scores = test.halted.to_frame(arm=spec.arm.name, seed=spec.seed, task=task, example=example)
    write_parquet(folder / "scores.parquet", scores)
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
