"""What the review reads of a training run: the curves of one cell on its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Validation:
    """Validation scores of one task, in [0, 1], after ``step`` updates."""

    step: FloatArray
    score: FloatArray

    def __post_init__(self) -> None:
        if len(self.step) != len(self.score):
            raise ValueError(f"{len(self.score)} scores for {len(self.step)} validation steps")


@dataclass(frozen=True)
class StabilityCurve:
    """One training run; every array has one value per update.

    Attributes:
        setting: name of the setting, or of the arm.
        seed: of the cell.
        step: update number, from 1.
        loss: training loss, in nats; may be non-finite.
        grad_norm: global gradient norm before clipping.
        clipped: whether the update was clipped.
        finite: whether loss and gradient were finite; otherwise the update was skipped.
        q_max: largest Q-value of the update's batch; NaN before the DQN learns, or without one.
        validation: task -> scores over steps.
        final: task -> test score; empty for a run that gave up.
        planned_steps: updates that the run was to take.
        gave_up: the loop stopped after too many non-finite updates in a row.
        steps_per_epoch: updates of one pass over the training examples.
        warmup_steps: updates before the learning rate reaches its top.
        num_validation: validation examples; gives a score its binomial noise.
        baseline: score that no learning reaches: the larger of chance and majority.
        gate: mean fusion gate in [0, 1]; empty without CLIP.
        weight_entropy: entropy of the path weights, in nats; empty without COCONUT.
        disagreement: share of slots on which the paths differ; empty without COCONUT.
    """

    setting: str
    seed: int
    step: FloatArray
    loss: FloatArray
    grad_norm: FloatArray
    clipped: BoolArray
    finite: BoolArray
    q_max: FloatArray
    validation: Mapping[str, Validation]
    final: Mapping[str, float]
    planned_steps: int
    gave_up: bool = False
    steps_per_epoch: float = 1.0
    warmup_steps: int = 0
    num_validation: int | None = None
    baseline: float | None = None
    gate: FloatArray = field(default_factory=lambda: np.empty(0))
    weight_entropy: FloatArray = field(default_factory=lambda: np.empty(0))
    disagreement: FloatArray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ("loss", "grad_norm", "clipped", "finite", "q_max"):
            if len(getattr(self, name)) != len(self.step):
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} values for {len(self.step)} updates "
                    f"({self.setting}, seed {self.seed})"
                )

    @property
    def tasks(self) -> str:
        """The tasks of this run, joined by ``+``."""
        return "+".join(sorted({*self.validation, *self.final}))

    @property
    def num_steps(self) -> int:
        """Updates that the run took."""
        return len(self.step)


def curve_from_frames(
    updates: pd.DataFrame,
    validations: pd.DataFrame,
    *,
    setting: str,
    seed: int,
    task: str,
    final_score: float | None,
    planned_steps: int,
    **options: Any,
) -> StabilityCurve:
    """Read a cell's ``updates.parquet`` and ``validations.parquet``.

    Args:
        updates: columns step, loss, grad_norm, clipped, finite; where they apply
            ``halting/q_max``, ``fusion/gate_mean``, ``coconut/weight_entropy`` and
            ``coconut/disagreement``. May be empty for a run that gave up at once.
        validations: columns step, score.
        setting: name of the setting or arm.
        seed: of the cell.
        task: what it was trained on.
        final_score: test score in the task's primary metric; None for a run that gave up.
        planned_steps: updates the run was to take.
        options: further fields of ``StabilityCurve``, such as ``gave_up``.
    """

    def column(name: str) -> FloatArray:
        if name not in updates:
            return np.full(len(updates), np.nan)
        return updates[name].to_numpy(dtype=np.float64)

    def optional(name: str) -> FloatArray:
        values = column(name)
        return values[np.isfinite(values)]

    known = "score" in validations
    steps, scores = (
        validations[name].to_numpy(dtype=np.float64) if known else np.empty(0)
        for name in ("step", "score")
    )
    return StabilityCurve(
        setting=setting,
        seed=seed,
        step=column("step"),
        loss=column("loss"),
        grad_norm=column("grad_norm"),
        clipped=column("clipped") > 0,
        finite=column("finite") > 0,
        q_max=column("halting/q_max"),
        validation={task: Validation(steps, scores)},
        final={} if final_score is None else {task: final_score},
        planned_steps=planned_steps,
        gate=optional("fusion/gate_mean"),
        weight_entropy=optional("coconut/weight_entropy"),
        disagreement=optional("coconut/disagreement"),
        **options,
    )


def finite_median(values: FloatArray) -> float:
    """Median of the values that are finite; infinity if none is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("inf")
