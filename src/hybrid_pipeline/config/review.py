"""The hyperparameter review: the seed analysis as data, thresholds of rules and advice."""

from __future__ import annotations

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import BoundedConfig, PathText

Scalar = bool | int | float | str | None


class CountsConfig(BoundedConfig):
    """Parameter counts for the rules where no count of the built model is given."""

    trainable: int = Field(ge=1, le=10**13)
    frozen: int = Field(ge=0, le=10**13)


class DocumentConfig(BoundedConfig):
    """The reviewed document: what it started from and what it changed, in its own key names."""

    source: str = Field(min_length=1)
    num_train: int = Field(ge=1, le=10**12)
    width: int = Field(
        ge=16, le=10**6, description="of the model that its learning rates are meant for"
    )
    counts: CountsConfig
    original: dict[str, Scalar]
    corrected: dict[str, Scalar]


class RuleConfig(BoundedConfig):
    """Thresholds of the rules; each is named in the finding that it causes."""

    reference_lr: float = Field(default=1e-4, gt=0, le=1)
    reference_width: int = Field(
        default=768, ge=1, le=10**6, description="lr scales with 1/width from here"
    )
    lr_tolerance: float = Field(default=2.0, ge=1, le=1e6, description="times the scaled reference")
    lr_dqn_ratio: float = Field(
        default=0.5, gt=0, le=1e6, description="lr_dqn over lr, as suggested"
    )
    min_warmup_share: float = Field(default=0.1, ge=0, lt=0.5)
    max_warmup_share: float = Field(default=0.5, ge=0.5, lt=1, description="of all updates")
    reference_warmup_steps: int = Field(default=3_000, ge=1, le=10**12)
    reference_total_steps: int = Field(
        default=26_050, ge=1, le=10**12, description="521 batches x 50 epochs"
    )
    min_beta2: float = Field(default=0.98, ge=0, lt=1)
    min_dqn_warmup_ratio: float = Field(default=0.2, ge=0, lt=1)
    max_dqn_warmup_ratio: float = Field(default=0.8, gt=0, lt=1, description="the latest start")
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6)
    ema_rate: float = Field(default=0.999, ge=0, lt=1)
    min_weight_decay: float = Field(default=1e-3, ge=0, le=10)
    max_weight_decay: float = Field(default=0.3, gt=0, le=10)
    reference_weight_decay: float = Field(default=0.1, ge=0, le=10)
    device_memory_gib: float = Field(default=14.56, gt=0, le=1e5, description="usable on a T4")
    max_memory_share: float = Field(default=0.9, gt=0, le=1)
    activation_mib_per_sample: float = Field(
        default=63.3, gt=0, le=1e7, description="trained ViT-B/16"
    )
    checkpointed_mib_per_sample: float = Field(
        default=7.8, gt=0, le=1e7, description="the same, ckpt."
    )
    memory_rule_from_parameters: int = Field(default=20_000_000, ge=0, le=10**13)
    state_bytes_per_parameter: int = Field(
        default=22, ge=1, le=1_000, description="fp32+AdamW+EMA+fp16"
    )
    min_total_steps: int = Field(default=100, ge=1, le=10**9, description="updates of a run")
    max_epochs: float = Field(default=100, gt=0, le=1e6)
    min_validations: int = Field(default=5, ge=2, le=10**6)

    @model_validator(mode="after")
    def _starts_are_ordered(self) -> RuleConfig:
        latest = self.max_dqn_warmup_ratio
        if max(self.min_dqn_warmup_ratio, self.max_warmup_share) > latest:
            raise ValueError(
                f"max_dqn_warmup_ratio {latest:g} must be at least min_dqn_warmup_ratio and "
                "max_warmup_share"
            )
        return self


class AdvisorConfig(BoundedConfig):
    """When a training curve earns advice."""

    level: float = Field(default=0.001, gt=0, lt=0.5, description="one-sided, before Bonferroni")
    min_drop: float = Field(default=0.02, gt=0, lt=1, description="score lost since the best")
    min_gain: float = Field(default=0.01, gt=0, lt=1, description="score gained at the end")
    min_validations: int = Field(default=5, ge=4, le=10**6)
    max_spike_share: float = Field(default=0.01, ge=0, lt=1)
    max_non_finite_share: float = Field(default=0.01, ge=0, lt=1)
    max_clipped_share: float = Field(default=0.5, gt=0, le=1)
    gate_low: float = Field(default=0.02, ge=0, lt=1)
    gate_high: float = Field(default=0.98, gt=0, le=1)
    min_entropy_share: float = Field(default=0.05, ge=0, lt=1, description="of log(num_paths)")
    min_disagreement: float = Field(default=0.005, ge=0, lt=1)
    q_slack: float = Field(
        default=0.25, ge=0, le=1e6, description="beyond the bounds of the return"
    )
    min_q_growth: float = Field(default=0.25, gt=0, le=1e6, description="over the second half")


class ReviewConfig(BoundedConfig):
    """What the review compares with and when it speaks."""

    document: DocumentConfig
    counts: dict[str, CountsConfig] = Field(description="by clip.source, if none can be counted")
    num_train_of_table: int = Field(
        default=100_000, ge=1, le=10**12, description="of an unreadable file"
    )
    peak_memory_gib: float | None = Field(default=None, gt=0, le=1e5, description="seen in a run")
    peak_memory_micro_batch_size: int | None = Field(
        default=None, ge=1, le=10**7, description="of that run; goes with the peak"
    )
    overfit_from_epoch: float | None = Field(
        default=None, gt=0, le=1e6, description="from the advisor"
    )
    settings_file: PathText | None = Field(
        default=None, description="YAML in any key names, reviewed beside the parameters"
    )
    rules: RuleConfig = RuleConfig()
    advisor: AdvisorConfig = AdvisorConfig()

    @model_validator(mode="after")
    def _complete(self) -> ReviewConfig:
        if "bundled" not in self.counts:
            raise ValueError("counts needs the entry 'bundled'")
        if (self.peak_memory_gib is None) != (self.peak_memory_micro_batch_size is None):
            raise ValueError("give peak_memory_gib and peak_memory_micro_batch_size, or neither")
        return self
