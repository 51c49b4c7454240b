"""What makes a cell and the key that its result stands under."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from hybrid_pipeline.arms import Arm, relevant_model
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.storage import code_key, content_key, library_versions
from hybrid_pipeline.training.loader import TaskData

RUN = "hybrid_pipeline.training.cell"
NOT_IN_CODE = tuple(
    f"hybrid_pipeline.{name}"
    for name in (
        "config", "arms", "components",  # what they decide is among the parameters
        "storage",  # carries bytes, and checks them
        "training.tracker", "training.logs",  # look on
    )
)  # fmt: skip
LIBRARIES = ("torch", "numpy", "timm")
NOT_IN_KEY = {"arm", "seed", "checkpoint_interval_steps", "cells_at_once"}


@dataclass(frozen=True)
class CellSpec:
    """What makes a cell: the arm, the seed and every parameter that reaches them.

    ``length`` is the share of the study's epochs that ``training`` has.
    """

    arm: Arm
    seed: int
    model: ModelConfig
    training: TrainingConfig
    halting: HaltingConfig
    length: float = 1.0

    def at(self, length: float) -> CellSpec:
        """The same cell trained for a share of its epochs, with a complete schedule of its own.

        Its key is that of a study with that many epochs: the length itself is in no key.
        """
        epochs = round(self.training.epochs * length, 12)
        return replace(
            self, training=self.training.model_copy(update={"epochs": epochs}), length=length
        )

    @property
    def own_model(self) -> ModelConfig:
        """The model's parameters with those that the arm's control fixes."""
        return self.arm.configured(self.model)

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters that reach this cell; two cells differ in these or not at all."""
        arm = self.arm
        parameters: dict[str, Any] = {
            "arm": {
                "components": list(arm.components),
                "parts": {name: asdict(part) for name, part in arm.parts_of_key.items()},
                "tower": arm.tower,
            },
            "seed": self.seed,
            "model": relevant_model(arm, self.model),
            "training": self.training.model_dump(mode="json", exclude=NOT_IN_KEY),
        }
        if arm.halts:
            parameters["halting"] = self.halting.model_dump(mode="json")
        return parameters

    def code_roots(self) -> tuple[str, ...]:
        """The modules that the cell starts from: the training, and the parts of its arm."""
        parts = self.arm.parts_of_key.values()
        named = (path for p in parts for path in (p.build, p.fit) if path is not None)
        return (RUN, *(path.partition(":")[0] for path in named))

    def code(self) -> str:
        """A key over the code that the cell runs, without what only looks on or carries values."""
        return code_key(self.code_roots(), NOT_IN_CODE)

    def key(self, data: TaskData) -> str:
        """The content key on one task: parameters, data, frozen features, code and libraries."""
        reads = self.arm.reads_tokens or self.arm.is_matched
        features = data.features.key if reads and data.features is not None else None
        return content_key(
            self.parameters(),
            data.table.key,
            data.images.key,
            features,
            self.code(),
            library_versions(*LIBRARIES),
        )
