"""What a run remembers of every update and every validation, for curves, review and stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor


class MetricBlock:
    """The metrics of some updates, kept on the device until they are read all at once.

    Reading waits for the device, so it is done once per block and not once per update.

    Args:
        size: updates a block holds.
        device: of the metrics.
    """

    MAX_METRICS = 16

    def __init__(self, size: int, device: torch.device | None = None) -> None:
        self.values = torch.zeros(size, self.MAX_METRICS, device=device)
        self._rows: list[tuple[dict[str, float], tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    @torch.no_grad()
    def write(self, slot: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Put an update's metrics, each [], into row ``slot`` (int64 [1])."""
        row = torch.stack([value.float() for value in metrics.values()])
        self.values[:, : len(row)].index_copy_(0, slot, row[None])

    def add(self, known: Mapping[str, float], names: tuple[str, ...]) -> None:
        """Count an update: what the host knows of it, and the names of what was written."""
        self._rows.append((dict(known), names))

    def read(self) -> list[dict[str, float]]:
        """Every update since the last reading, in order; the block is empty afterwards."""
        values = self.values[: len(self)].tolist()
        rows = [known | dict(zip(names, row, strict=False))
                for (known, names), row in zip(self._rows, values, strict=True)]  # fmt: skip
        self._rows = []
        return rows


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
