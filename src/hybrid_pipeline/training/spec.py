"""What makes a cell and the key that its result stands under."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hybrid_pipeline.arms import Arm, relevant_model
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.storage import code_fingerprint, content_key, library_versions
from hybrid_pipeline.training.loader import TaskData

CODE = ("models", "halting", "training", "arms.py", "seeding.py")
LIBRARIES = ("torch", "numpy", "timm")
NOT_IN_KEY = {"arm", "seed", "checkpoint_interval_steps"}


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

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters that reach this cell; two cells differ in these or not at all."""
        arm = {k: v for k, v in vars(self.arm).items() if k not in ("name", "control_of")}
        parameters: dict[str, Any] = {
            "arm": arm | {"components": list(self.arm.components)},
            "seed": self.seed,
            "model": relevant_model(self.arm, self.model),
            "training": self.training.model_dump(mode="json", exclude=NOT_IN_KEY),
        }
        if self.arm.has("trm"):
            parameters["halting"] = self.halting.model_dump(mode="json")
        return parameters

    def key(self, data: TaskData) -> str:
        """The content key on one task: parameters, data, frozen features, code and libraries."""
        uses_tower = self.arm.has("clip") or self.arm.backbone == "wide_vit"
        features = data.features.key if uses_tower and data.features is not None else None
        return content_key(
            self.parameters(),
            data.table.key,
            data.images.key,
            features,
            code_fingerprint(*CODE),
            library_versions(*LIBRARIES),
        )
