"""What is trained without labels before an arm is: the adapters whose part names a ``fit``.

A fitted adapter depends on its seed, its parameters and the frozen tokens, not on the arm or on how
long the arm is trained. So it is fitted once, kept under a key of its own and read by every cell
that has it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save
from torch import nn

from hybrid_pipeline.components import Part, resolve
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.storage import (
    LOCKS,
    code_key,
    content_key,
    is_whole,
    library_versions,
    locked,
    read_json,
    seal,
    write_atomically,
    write_json_atomically,
)
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.spec import LIBRARIES, NOT_IN_CODE, CellSpec
from hybrid_pipeline.training.tracker import current_tracker


@dataclass(frozen=True)
class Stages:
    """The stages of a cell.

    Attributes:
        metrics: of all stages.
        seconds: that fitting took, in whichever cell it was done.
    """

    metrics: dict[str, float]
    seconds: float


def run_stages(spec: CellSpec, data: TaskData, model: HybridModel, root: Path) -> Stages:
    """Fit the adapters of a new model, or read them back, in place, and leave them frozen.

    Args:
        spec: the cell.
        data: the task.
        model: as it was initialised.
        root: folder of all fitted adapters; each lies under its key.
    """
    metrics, seconds = dict[str, float](), 0.0
    for name, part in spec.arm.parts.items():
        if part.fit is None:
            continue
        module = model.encoder.adapters[name]
        stage = _run_stage(module, part, part.fit, spec, data, root)
        module.requires_grad_(False)
        module.zero_grad(set_to_none=True)  # the learner's clipping must not see this stage
        metrics |= stage.metrics
        seconds += stage.seconds
    if metrics:
        current_tracker().log_metrics(metrics, 0)
    return Stages(metrics, seconds)


def _run_stage(
    module: nn.Module, part: Part, fit: str, spec: CellSpec, data: TaskData, root: Path
) -> Stages:
    folder = root / _key(part, fit, spec, data)
    with locked(root / LOCKS / folder.name):  # cells that run beside one another share it
        if is_whole(folder, "the adapter is fitted again"):
            module.load_state_dict(load_file(folder / "weights.safetensors"))
            return Stages(**read_json(folder / "stage.json"))
        return _fit(module, fit, spec, data, folder)


def _fit(module: nn.Module, fit: str, spec: CellSpec, data: TaskData, folder: Path) -> Stages:
    started = time.perf_counter()
    module.requires_grad_(True)
    metrics: dict[str, float] = resolve(fit)(module, spec, data)
    stage = Stages(metrics, time.perf_counter() - started)
    weights = {k: v.contiguous().cpu().clone() for k, v in module.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "weights.safetensors", lambda file: file.write(save(weights)))
    write_json_atomically(folder / "stage.json", vars(stage))
    seal(folder)
    return stage


def _key(part: Part, fit: str, spec: CellSpec, data: TaskData) -> str:
    """Of all that reaches a fit: its seed, its parameters, its tokens, its code."""
    roots = [path.partition(":")[0] for path in (part.build, fit)]
    return content_key(
        fit,
        part.stream,
        spec.seed,
        {name: getattr(spec.own_model, name).model_dump(mode="json") for name in part.parameters},
        spec.training.model_dump(mode="json", include={"device", "num_threads"}),
        data.table.key,
        None if data.features is None else data.features.key,
        code_key(roots, NOT_IN_CODE),
        library_versions(*LIBRARIES),
    )
