"""The label-free Noise2Noise stage of a cell, before its training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.models.n2n import NoiseAdapter, fit_adapter, view_errors
from hybrid_pipeline.seeding import rng_for, seed_for
from hybrid_pipeline.storage import read_json, write_json_atomically
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.precision import choose_device
from hybrid_pipeline.training.spec import CellSpec
from hybrid_pipeline.training.tracker import current_tracker

HELD_OUT_VIEWS = 256


@dataclass(frozen=True)
class AdapterStage:
    """The stage that came before training.

    Attributes:
        metrics: of the adapter.
        seconds: that it took; both empty for an arm without it.
    """

    metrics: dict[str, float]
    seconds: float


def fit_stage(spec: CellSpec, data: TaskData, model: HybridModel, folder: Path) -> AdapterStage:
    """Train the adapter without labels on training rows, then measure it on held-out views.

    A stage that is done is read back as long as the cell's checkpoint, which holds its weights, is
    there.
    """
    if not spec.arm.has("n2n") or spec.arm.adapter != "n2n":
        return AdapterStage({}, 0.0)
    started, config = time.perf_counter(), spec.model.n2n
    train, held_out = data.table.rows("train"), data.table.rows("validation")[:HELD_OUT_VIEWS]
    known = folder / "adapter.json"
    if known.exists() and (folder / "checkpoint.pt").exists():
        kept = read_json(known)
        return AdapterStage(kept["metrics"], kept["seconds"])

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
    stage = AdapterStage(metrics, time.perf_counter() - started)
    write_json_atomically(known, vars(stage))
    return stage


def _views(data: TaskData, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (
        torch.from_numpy(data.tokens(rows, np.full(len(rows), view))) for view in (0, 1)
    )
    return first, second
