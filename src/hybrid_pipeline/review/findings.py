"""What a rule receives and what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import yaml

from hybrid_pipeline.config import (
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    RuleConfig,
    TrainingConfig,
)
from hybrid_pipeline.config.review import Scalar
from hybrid_pipeline.text_tables import two_digits

Severity = Literal["error", "warning", "advice", "note"]
Support = Literal["measured", "literature", "heuristic", "contradicted"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "advice", "note")


@dataclass(frozen=True)
class Finding:
    """One result of one rule.

    Attributes:
        id: name of the finding, stable across runs.
        severity: ``error`` cannot be meant, ``warning`` should change, ``advice`` may help,
            ``note`` states a figure and asks for nothing.
        path: the parameter in dotted form.
        value: the parameter's value as it resolved.
        computed: named figures that the finding rests on.
        recommendation: one or two sentences.
        quote: a few words of the seed analysis, or the empty string if it is silent.
        evidence: what supports the statement that the quote makes; ``contradicted`` says that the
            reason that the seed analysis gives does not hold.
        autofix: YAML of parameters that, merged softly, makes the finding vanish; or None.
    """

    id: str
    severity: Severity
    path: str
    value: Scalar
    computed: Mapping[str, Scalar]
    recommendation: str
    quote: str
    evidence: Support
    autofix: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        return {**asdict(self), "computed": dict(self.computed)}


@dataclass(frozen=True)
class TrainedAndFrozen:
    """Parameters that training updates, and those of the frozen tower.

    ``assumed_because`` says why they were not counted; empty if they were.
    """

    trainable: int
    frozen: int
    assumed_because: str = ""


@dataclass(frozen=True)
class EarlierRuns:
    """Figures of earlier runs; None if there is none.

    ``peak_memory_batch`` is the micro-batch at which the peak was measured (the whole batch where
    it is not given); ``lr_difference`` says what the stability study measured for the rate.
    """

    peak_memory_gib: float | None = None
    peak_memory_batch: int | None = None
    overfit_from_epoch: float | None = None
    lr_difference: str | None = None


@dataclass(frozen=True)
class ReviewInputs:
    """Everything that a rule may look at.

    ``foreign`` holds keys that the strict configuration refuses (such as the seed analysis'
    ``lr_pretrained``), in dotted form; a project configuration has none. ``drop_last`` says whether
    the incomplete batch of an epoch is dropped: this project's trainer drops it, the seed analysis
    does not.
    """

    training: TrainingConfig
    halting: HaltingConfig
    model: ModelConfig
    clip: ClipConfig
    num_train: int
    counts: TrainedAndFrozen
    rules: RuleConfig
    measured: EarlierRuns = EarlierRuns()
    foreign: Mapping[str, Scalar] = field(default_factory=dict)
    drop_last: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one pass over the training examples."""
        return self._steps_per_epoch_at(self.training.global_batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.total_steps_at(self.training.global_batch_size)

    def total_steps_at(self, batch: int) -> int:
        """Optimiser steps of the whole training under another batch."""
        return max(1, round(self.training.epochs * self._steps_per_epoch_at(batch)))

    def _steps_per_epoch_at(self, batch: int) -> int:
        if self.drop_last:
            return max(1, self.num_train // batch)
        return math.ceil(self.num_train / batch)

    @property
    def num_validations(self) -> int:
        """Validations of a run as the trainer counts them: the last update always has one."""
        every = round(self.training.eval_interval * self.total_steps / self.training.epochs)
        return math.ceil(self.total_steps / max(1, every))

    @property
    def warmup_steps(self) -> int:
        """Steps of learning-rate warm-up, whichever way they are given."""
        if self.training.lr_warmup_steps is not None:
            return self.training.lr_warmup_steps
        return round((self.training.lr_warmup_ratio or 0.0) * self.total_steps)

    @property
    def warmup_share(self) -> float:
        """Warm-up as a share of training."""
        return self.warmup_steps / self.total_steps

    @property
    def dqn_start_step(self) -> int:
        """The first step, from 0, after the DQN's warm-up; the total if there is none."""
        return math.ceil(self.halting.dqn_warmup_ratio * self.total_steps - 1e-9)

    @property
    def uses_dqn(self) -> bool:
        """Whether the policy is learned at all."""
        return self.halting.policy == "dqn"

    @property
    def reference_lr(self) -> float:
        """The reference learning rate scaled by 1/width (Yang et al. 2022, arXiv:2203.03466).

        The widest trained part binds, because one rate serves all.
        """
        width = max(self.model.core.dim, self.model.vit.embed_dim)
        scale = self.rules.reference_width / width
        return two_digits(self.rules.reference_lr * scale)


def fix(**values: Scalar) -> str:
    """YAML that sets parameters; ``__`` in a name separates levels (``training__lr=1e-4``)."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, leaf = name.split("__")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[leaf] = value
    return yaml.safe_dump(nested, sort_keys=True)


def unset(dotted: str) -> str:
    """YAML that removes a key of another project by setting it to null."""
    return fix(**{dotted.replace(".", "__"): None})
