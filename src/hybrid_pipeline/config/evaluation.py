"""How scores become effects and verdicts; preregistered before any study runs."""

from __future__ import annotations

from pydantic import Field

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig


class EvaluationConfig(BoundedConfig):
    """Smallest effect of interest, levels and resampling."""

    delta: float = Field(default=0.01, gt=0, lt=1, description="accuracy; 0.01 is one point")
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="of the intervals; alpha is 1 - level"
    )
    num_resamples: int = Field(
        default=2_000, ge=100, le=10**6, description="of the crossed bootstrap, shown beside"
    )
    bootstrap_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="of the resampling")
    max_diverged_seeds: int = Field(
        default=0, ge=0, le=64, description="an arm may lose this many and be judged"
    )
