"""One training configuration for all arms, in the seed analysis' names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig


class TrainingConfig(BoundedConfig):
    """Budget, optimiser, schedule, EMA and numerics; identical for every arm."""

    arm: str = Field(default="arm_5_coconut", description="read only by hybrid_training")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="read only by hybrid_training")

    epochs: float = Field(default=5.0, gt=0, le=1e6, description="passes over the training split")
    global_batch_size: int = Field(default=64, ge=1, le=2**20, description="examples per update")
    micro_batch_size: int | None = Field(
        default=None, ge=1, le=2**20, description="accumulated to global"
    )
    eval_interval: float = Field(
        default=1.0, gt=0, le=1e6, description="epochs between validations"
    )
    checkpoint_interval_steps: int = Field(
        default=100, ge=1, le=10**9, description="updates between checkpoints; not in any key"
    )

    lr: float = Field(
        default=1e-4, gt=0, le=1, description="peak rate, for every trained weight but Q"
    )
    lr_min_ratio: float = Field(
        default=0.1, ge=0, le=1, description="of lr, at the end of the schedule"
    )
    lr_scheduler: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="after a linear warm-up"
    )
    lr_warmup_steps: int | None = Field(
        default=None, ge=0, le=10**9, description="updates; or the ratio, the other null"
    )
    lr_warmup_ratio: float | None = Field(
        default=None, ge=0, lt=1, description="share of all updates"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        default="adamw", description="muon: for hidden matrices, AdamW for all other weights"
    )
    muon_lr_ratio: float = Field(
        default=1.0, gt=0, le=1_000, description="of lr; 1 moves a matrix as far as AdamW does"
    )
    muon_momentum: float = Field(default=0.95, ge=0, lt=1, description="of Muon, Nesterov's")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of AdamW")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="of AdamW")
    adam_eps: float = Field(default=1e-8, gt=0, le=1, description="of AdamW")
    weight_decay: float = Field(default=0.1, ge=0, le=100, description="on matrices only")
    max_grad_norm: float | None = Field(default=1.0, gt=0, le=1e6, description="null: no clipping")
    ema: bool = Field(default=True, description="evaluate averaged weights")
    ema_rate: float = Field(
        default=0.999, ge=0, lt=1, description="decay is min(ema_rate, (1 + t) / (10 + t))"
    )

    loss: Literal["cross_entropy", "stablemax_cross_entropy"] = Field(
        default="cross_entropy", description="over the scored slots"
    )
    update: Literal["per_batch", "per_supervision_step"] = Field(
        default="per_batch", description="one update per batch, or as TRM trains"
    )
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        default="fp32", description="fp16 and bf16 by autocast"
    )
    max_skipped_steps: int = Field(
        default=20, ge=1, le=10**6, description="in a row, before giving up"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="of the ViT: less memory, same numbers"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="cpu", description="auto: a GPU if torch sees one"
    )
    capture: bool = Field(
        default=True, description="on a GPU, replay an update as one CUDA graph; see training.md"
    )
    cells_at_once: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="of one worker; null: one on a CPU, up to 8 on a GPU; not in any key",
    )
    num_threads: int = Field(
        default=1, ge=1, le=4_096, description="of one cell; 1 keeps runs identical"
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if (self.lr_warmup_steps is None) == (self.lr_warmup_ratio is None):
            raise ValueError("give either lr_warmup_steps or lr_warmup_ratio, the other null")
        micro = self.micro_batch_size
        if micro is not None and self.global_batch_size % micro:
            raise ValueError(
                f"micro_batch_size {micro} must divide global_batch_size {self.global_batch_size}"
            )
        return self
