"""What a run remembers of every update and every validation, for curves, review and stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


class TrainingLog:
    """Rows per update and per validation, plain lists so that a checkpoint can hold them."""

    def __init__(self) -> None:
        self.updates: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    def add_update(self, step: int, values: Mapping[str, float]) -> None:
        """Remember one update of the learner."""
        self.updates.append({"step": float(step), **values})

    def add_validation(self, step: int, values: Mapping[str, float]) -> None:
        """Remember one validation, after ``step`` updates."""
        self.validations.append({"step": float(step), **values})

    def updates_frame(self) -> pd.DataFrame:
        """A row per update: step, loss, lr, grad_norm, clipped, finite and component metrics."""
        return _frame(self.updates)

    def validations_frame(self) -> pd.DataFrame:
        """A row per validation: step, score (primary metric), loss."""
        return _frame(self.validations)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"updates": list(self.updates), "validations": list(self.validations)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.updates = [dict(row) for row in state["updates"]]
        self.validations = [dict(row) for row in state["validations"]]


def _frame(rows: list[dict[str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if "step" in frame:
        frame["step"] = frame["step"].astype("int64")
    return frame
