"""What a finished cell kept of its training, for a run in MLflow that did not see it.

A result that lies under its key is not computed again. Where its own run is gone, because the
database was deleted or another server is used, curves and parameters come from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hybrid_pipeline.kedro_ext.project_parameters import ProjectState, validate_parameters
from hybrid_pipeline.kedro_ext.tracking.charts import VALIDATION, charted
from hybrid_pipeline.storage import Workspace

if TYPE_CHECKING:
    from hybrid_pipeline.training.result import CellResult

UPDATES_A_POINT = 20
"""``training.loop.LOG_EVERY_STEPS``: what a run that sees the training is sent."""


@dataclass(frozen=True)
class History:
    """A training that is over.

    Attributes:
        params: resolved parameters of the cell.
        points: (step, metrics after it), in order of the steps.
    """

    params: Mapping[str, Any]
    points: list[tuple[int, dict[str, float]]]


def history_of(result: CellResult, state: ProjectState) -> History:
    """The history of a finished cell.

    Args:
        result: of the cell.
        state: the parameters that its study was run with, and where its data lie.
    """
    from hybrid_pipeline.training.learner import Learner

    groups = validate_parameters(state.parameters)
    learner = Learner(groups["training"], groups["halting"], groups["model"])
    spec = learner.cell(result.arm, result.seed).at(result.length)
    folder = Workspace(str(state.data_dir)).cells / result.key
    params = json.loads(json.dumps(spec.parameters()))  # as a run that trains sends them
    points = kept_points(folder, result.task)
    scores = [values[VALIDATION] for _, values in points if VALIDATION in values]
    costs = {
        "cost/flops_per_example": float(result.flops_per_example),
        "cost/trainable_parameters": float(result.parameters.trainable),
    }
    best = {"best/validation_score": max(scores)} if scores else {}
    return History(params, [*points, (result.updates, costs | best)])


def kept_points(folder: Path, task: str) -> list[tuple[int, dict[str, float]]]:
    """The points of a cell's ``updates.parquet`` and ``validations.parquet``.

    Args:
        folder: of the cell; empty curves if its files are gone.
        task: in whose name the validation score is charted.
    """
    found: dict[int, dict[str, float]] = {}
    for name, prefix in (("updates", "train"), ("validations", "validation")):
        path = folder / f"{name}.parquet"
        rows = list(_rows(path)) if path.is_file() else []
        for step, values in rows:
            if prefix == "validation" or step % UPDATES_A_POINT == 0 or step == rows[-1][0]:
                named = {f"{prefix}/{key}": value for key, value in values.items()}
                found.setdefault(step, {}).update(named)
    return sorted((step, charted(values, task)) for step, values in found.items())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and values of every row; what a row lacks is left out."""
    for row in pd.read_parquet(path).to_dict("records"):
        step = int(row.pop("step"))
        yield step, {str(name): float(v) for name, v in row.items() if not pd.isna(v)}
