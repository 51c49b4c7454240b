"""What is trained without labels before an arm is: the adapters whose part names a ``fit``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hybrid_pipeline.components import resolve
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.storage import read_json, write_json_atomically
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.spec import CellSpec
from hybrid_pipeline.training.tracker import current_tracker


@dataclass(frozen=True)
class Stages:
    """The stages of a cell.

    Attributes:
        metrics: of all stages.
        seconds: that they took.
    """

    metrics: dict[str, float]
    seconds: float


def run_stages(spec: CellSpec, data: TaskData, model: HybridModel, folder: Path) -> Stages:
    """Fit the adapters of a new model, in place, and leave them frozen.

    Stages that are done are read back as long as the cell's checkpoint, which holds their weights,
    is there.
    """
    known = folder / "stages.json"
    if known.exists() and (folder / "checkpoint.pt").exists():
        return Stages(**read_json(known))
    started, metrics = time.perf_counter(), dict[str, float]()
    fitted = {n: p.fit for n, p in spec.arm.parts.items() if p.fit is not None}
    if not fitted:
        return Stages({}, 0.0)
    for name, fit in fitted.items():
        metrics |= _run_stage(model.encoder.adapters[name], fit, spec, data)
    current_tracker().log_metrics(metrics, 0)
    stages = Stages(metrics, time.perf_counter() - started)
    write_json_atomically(known, vars(stages))
    return stages


def _run_stage(module: nn.Module, fit: str, spec: CellSpec, data: TaskData) -> dict[str, float]:
    module.requires_grad_(True)
    metrics: dict[str, float] = resolve(fit)(module, spec, data)
    module.requires_grad_(False)
    module.zero_grad(set_to_none=True)  # the learner's clipping must not see this stage
    return metrics
