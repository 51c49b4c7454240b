"""How every arm of a study learns: what a cell is made of besides its arm and its seed."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.training.spec import CellSpec


@dataclass(frozen=True)
class Learner:
    """The three groups of parameters that reach a cell."""

    training: TrainingConfig
    halting: HaltingConfig
    model: ModelConfig

    def cell(self, arm: str, seed: int) -> CellSpec:
        """The cell of an arm, by its name, and a seed.

        Raises:
            ValueError: for an unknown arm.
        """
        return CellSpec(find_arm(arm), seed, self.model, self.training, self.halting)
