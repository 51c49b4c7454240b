"""From predicted classes to per-example scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybrid_pipeline.config import PrimaryMetric


@dataclass(frozen=True)
class ExampleScores:
    """Scores of N examples, in the order of the task's rows.

    Attributes:
        correct: bool [N], every scored slot is right.
        slots_correct: int [N].
        slots_total: int [N], number of scored slots.
        supervision_steps: int [N], steps used until the halt.
    """

    correct: NDArray[np.bool_]
    slots_correct: NDArray[np.int64]
    slots_total: NDArray[np.int64]
    supervision_steps: NDArray[np.int64]

    def values(self, metric: PrimaryMetric) -> NDArray[np.float64]:
        """Each example's score in [0, 1] under a metric; float [N]."""
        if metric == "correct":
            return self.correct.astype(np.float64)
        return self.slots_correct / self.slots_total

    def mean(self, metric: PrimaryMetric) -> float:
        """Mean score over the examples."""
        return float(self.values(metric).mean())

    def to_frame(
        self, *, arm: str, seed: int, task: str, example: NDArray[np.int64]
    ) -> pd.DataFrame:
        """The tidy table of STATISTICS: a row per example."""
        return pd.DataFrame(
            {
                "arm": arm,
                "seed": seed,
                "task": task,
                "example": example,
                "correct": self.correct.astype(np.int8),
                "slots_correct": self.slots_correct,
                "slots_total": self.slots_total,
                "supervision_steps": self.supervision_steps,
            }
        )


def score_predictions(
    predicted: NDArray[np.integer],
    targets: NDArray[np.int64],
    scored: NDArray[np.bool_],
    steps: NDArray[np.integer],
) -> ExampleScores:
    """Compare predictions [N, S] with targets [N, S] on the scored slots [N, S]."""
    right = (predicted == targets) & scored
    total = scored.sum(1)
    return ExampleScores(
        correct=right.sum(1) == total,
        slots_correct=right.sum(1).astype(np.int64),
        slots_total=total.astype(np.int64),
        supervision_steps=steps.astype(np.int64),
    )
