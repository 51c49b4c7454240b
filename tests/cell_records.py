"""Cells as training leaves them, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_pipeline.training.result import (
    Cell,
    CellResult,
    DivergedResult,
    ParameterCounts,
    PolicyScore,
)

POLICIES = {
    name: PolicyScore(score=0.5, mean_steps=1.0, reads_labels=name == "oracle")
    for name in ("fixed_1", "random", "oracle")
}


def done(arm: str, seed: int, task: str, score: float = 0.5, **fields: Any) -> CellResult:
    """A finished result; ``fields`` replace what is made up."""
    made_up = {
        "key": f"{arm}-{seed}-{task}",
        "metric": "correct",
        "updates": 100,
        "test_score": score,
        "test_correct": score,
        "test_slots": score,
        "mean_steps": 1.0,
        "policies": POLICIES,
        "validation_score": score,
        "parameters": ParameterCounts(trainable=1, total=2),
        "flops_per_example": 3,
        "metrics": {},
        "seconds": 1.0,
        "cell_seconds": 1.0,
    }
    return CellResult.model_validate({**made_up, "arm": arm, "seed": seed, "task": task, **fields})


def diverged(arm: str, seed: int, task: str, **fields: Any) -> DivergedResult:
    """A result whose training gave up."""
    made_up = {"key": f"{arm}-{seed}-{task}", "metric": "correct", "reason": "not finite",
               "seconds": 1.0, "cell_seconds": 1.0}  # fmt: skip
    return DivergedResult.model_validate(
        {**made_up, "arm": arm, "seed": seed, "task": task, **fields}
    )


def cell(arm: str, seed: int, scores: Mapping[str, float], **fields: Any) -> Cell:
    """A cell with a finished result per task."""
    results = tuple(done(arm, seed, task, score, **fields) for task, score in scores.items())
    return Cell(arm=arm, seed=seed, results=results)
