"""The label-free Noise2Noise stage of an arm's adapter, before the arm is trained."""

from __future__ import annotations

import numpy as np
import torch

from hybrid_pipeline.models.n2n import NoiseAdapter, fit_adapter, view_errors
from hybrid_pipeline.seeding import rng_for, seed_for
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.precision import choose_device
from hybrid_pipeline.training.spec import CellSpec

HELD_OUT_VIEWS = 256


def fit_n2n(adapter: NoiseAdapter, spec: CellSpec, data: TaskData) -> dict[str, float]:
    """Train the adapter on training rows, then measure it on held-out views.

    Returns:
        Metrics of the stage and of the held-out views.
    """
    config = spec.own_model.n2n
    train, held_out = data.table.rows("train"), data.table.rows("validation")[:HELD_OUT_VIEWS]

    def pair(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = rng_for("n2n_order", spec.seed, step).choice(
            train, min(config.batch_size, len(train)), replace=False
        )
        return _views(data, rows)

    device = choose_device(spec.training.device)
    history = fit_adapter(adapter, pair, config, seed_for("n2n_stage", spec.seed), device)
    return history.metrics() | view_errors(adapter, *_views(data, held_out))


def _views(data: TaskData, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (
        torch.from_numpy(data.tokens(rows, np.full(len(rows), view))) for view in (0, 1)
    )
    return first, second
