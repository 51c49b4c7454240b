"""DQN halting: exploration, replay, target network and rewards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import BoundedConfig


class HaltingConfig(BoundedConfig):
    """The DQN that watches the model at full depth and learns when to halt or expand."""

    policy: Literal["dqn", "fixed"] = Field(default="dqn", description="fixed: no DQN watches")
    min_steps: int = Field(default=1, ge=1, le=64, description="halt is illegal before this step")
    dqn_warmup_ratio: float = Field(
        default=0.2, ge=0, le=1, description="share of training with random expansions"
    )
    freeze_representation_during_warmup: bool = Field(
        default=True, description="Q, too, stays as it is until then; the learner never"
    )
    exploration: Literal["boltzmann", "epsilon"] = Field(
        default="boltzmann", description="in training"
    )
    q_temperature_start: float = Field(
        default=1.0, gt=0, le=1e6, description="Boltzmann, annealed linearly"
    )
    q_temperature_end: float = Field(
        default=0.1, gt=0, le=1e6, description="at the end of training"
    )
    epsilon_start: float = Field(default=1.0, ge=0, le=1, description="epsilon-greedy")
    epsilon_end: float = Field(default=0.05, ge=0, le=1, description="at the end of training")
    step_cost: float = Field(
        default=0.01, ge=0, le=1, description="reward lost for a further step, in score"
    )
    expansion_penalty_start: float = Field(
        default=0.1, ge=0, le=10, description="beyond the step, in score"
    )
    expansion_penalty_end: float = Field(
        default=0.001, ge=0, le=10, description="at the end of training"
    )
    gamma: float = Field(default=1.0, ge=0, le=1, description="discount")
    hidden_dim: int = Field(default=64, ge=4, le=16_384, description="of the Q-head")
    lr_dqn: float = Field(default=1e-3, gt=0, le=1, description="of the Q-head, Adam")
    batch_size: int = Field(default=128, ge=1, le=2**20, description="transitions a Q-update")
    updates_per_step: int = Field(
        default=1, ge=1, le=1_000, description="Q-updates per update of the model"
    )
    replay_capacity: int = Field(default=8_192, ge=16, le=10**8, description="transitions")
    replay_recent_fraction: float = Field(
        default=0.5, ge=0, le=1, description="of a batch from the newest"
    )
    replay_recent_size: int = Field(
        default=1_024, ge=1, le=10**8, description="what counts as newest"
    )
    replay_max_age_steps: int = Field(
        default=200, ge=1, le=10**9, description="updates of the learner"
    )
    target_tau: float | None = Field(default=0.02, gt=0, le=1, description="Polyak averaging")
    target_period: int | None = Field(
        default=None, ge=1, le=10**9, description="hard copies instead"
    )

    @model_validator(mode="after")
    def _one_target_rule(self) -> HaltingConfig:
        if (self.target_tau is None) == (self.target_period is None):
            raise ValueError("give either target_tau or target_period, the other null")
        return self
