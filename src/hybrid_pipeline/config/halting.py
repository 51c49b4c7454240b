"""DQN halting: exploration, replay, target network and rewards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import StrictConfig


class HaltingConfig(StrictConfig):
    """The policy that halts, continues or expands each example after a supervision step."""

    policy: Literal["dqn", "fixed"] = "dqn"
    min_steps: int = Field(default=1, ge=1, description="halt is illegal before this step")
    dqn_warmup_ratio: float = Field(default=0.2, ge=0, le=1)
    freeze_representation_during_warmup: bool = True
    exploration: Literal["boltzmann", "epsilon"] = "boltzmann"
    q_temperature_start: float = Field(default=1.0, gt=0)
    q_temperature_end: float = Field(default=0.1, gt=0)
    epsilon_start: float = Field(default=1.0, ge=0, le=1)
    epsilon_end: float = Field(default=0.05, ge=0, le=1)
    step_cost: float = Field(default=0.01, ge=0)
    expansion_penalty_start: float = Field(default=0.1, ge=0)
    expansion_penalty_end: float = Field(default=0.001, ge=0)
    gamma: float = Field(default=1.0, ge=0, le=1)
    hidden_dim: int = Field(default=64, ge=4)
    lr_dqn: float = Field(default=1e-3, gt=0, le=1)
    batch_size: int = Field(default=128, ge=1)
    updates_per_step: int = Field(default=1, ge=1)
    replay_capacity: int = Field(default=8_192, ge=16)
    replay_recent_fraction: float = Field(default=0.5, ge=0, le=1)
    replay_recent_size: int = Field(default=1_024, ge=1)
    replay_max_age_steps: int = Field(default=200, ge=1, description="updates of the learner")
    target_tau: float | None = Field(default=0.02, gt=0, le=1, description="Polyak averaging")
    target_period: int | None = Field(default=None, ge=1, description="hard copies instead")

    @model_validator(mode="after")
    def _one_target_rule(self) -> HaltingConfig:
        if (self.target_tau is None) == (self.target_period is None):
            raise ValueError("give either target_tau or target_period, the other null")
        return self
