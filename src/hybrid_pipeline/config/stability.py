"""The stability study: original against corrected settings, and which change does what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig

Factor = Literal["lr", "warmup", "beta2", "dqn_warmup_ratio"]


class StabilityConfig(BoundedConfig):
    """Settings, seeds and the metrics' constants; fixed before any run.

    ``design: pair`` trains the original and the corrected settings; ``fraction`` adds the 2^(4-1)
    fraction of the four bundled changes.
    """

    arm: str = Field(default="arm_5_coconut", description="the full model")
    tasks: tuple[str, ...] | None = Field(default=None, description="null: every task")
    epochs: float | None = Field(default=None, gt=0, le=1e6, description="null: the profile's")
    design: Literal["pair", "fraction"] = "fraction"
    num_seeds: int = Field(default=5, ge=1, le=64)
    first_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    factors: tuple[Factor, Factor, Factor, Factor] = ("lr", "warmup", "beta2", "dqn_warmup_ratio")
    generator_sign: Literal[1, -1] = Field(default=1, description="of the defining relation I=ABCD")
    level: float = Field(default=0.95, gt=0.5, lt=1)
    spike_window: int = Field(default=50, ge=5, le=10**6, description="steps before the judged one")
    spike_threshold: float = Field(
        default=6.0, gt=0, le=1e6, description="robust standard deviations"
    )
    early_share: float = Field(default=0.2, gt=0, le=1, description="of training, 'early'")
    target_scores: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict, description="by task"
    )
    target_fraction: float = Field(
        default=0.9, gt=0, le=1, description="of the corrected mean final score, else"
    )
    min_seeds: int = Field(default=3, ge=2, le=64, description="below: not evaluable")
