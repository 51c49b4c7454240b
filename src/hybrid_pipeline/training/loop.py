"""The training loop, one for all arms.

Order of an update under fp16: unscale, clip, step, update the scale always; schedule, moving
average and DQN advance with the update's number, and a skipped step is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from hybrid_pipeline.config import HaltingConfig, TrainingConfig
from hybrid_pipeline.halting.actions import num_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.state import state_dim
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.models.q_head import QHead
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from hybrid_pipeline.training.loader import Batch, TaskData, training_batches
from hybrid_pipeline.training.logs import TrainingLog
from hybrid_pipeline.training.optim import (
    build_ema,
    build_optimizer,
    learning_rate,
    set_learning_rate,
    total_steps,
)
from hybrid_pipeline.training.precision import (
    autocast,
    build_scaler,
    choose_device,
    make_deterministic,
)
from hybrid_pipeline.training.rollout import HaltingPolicy, StepLoss, supervised_steps
from hybrid_pipeline.training.tracker import current_tracker

LOG_EVERY_STEPS = 20
Validate = Callable[[HybridModel], dict[str, float]]


class TrainingDivergedError(RuntimeError):
    """Too many updates in a row had a loss or gradient that is not finite.

    Attributes:
        log: of the run up to here.
        seconds: wall time up to here, interruptions left out.
    """

    def __init__(self, message: str, log: TrainingLog, seconds: float) -> None:
        super().__init__(message)
        self.log, self.seconds = log, seconds


@dataclass(frozen=True)
class Trained:
    """The outcome of a run.

    Attributes:
        model: with the averaged weights where EMA is on: what is evaluated.
        agent: the halting policy; None for arms of fixed depth.
        log: every update and validation.
        num_steps: updates of the whole run.
        seconds: wall time of training, interruptions left out.
    """

    model: HybridModel
    agent: DqnAgent | None
    log: TrainingLog
    num_steps: int
    seconds: float


def build_agent(model: HybridModel, config: HaltingConfig, seed: int) -> DqnAgent | None:
    """The DQN of an arm, or None where depth is fixed (no TRM, one step, or a fixed policy)."""
    arm = model.arm
    if not arm.has("trm") or "fixed" in (arm.halting, config.policy) or model.max_steps == 1:
        return None
    return DqnAgent(
        config,
        state_dim(model.config.core.dim),
        num_actions(can_expand=arm.has("coconut")),
        seed,
        QHead,
    )


class Trainer:
    """Trains one arm on one task.

    Args:
        model: the arm, with its adapter already fitted.
        data: the task.
        config: budget, optimiser, schedule, numerics.
        halting: the DQN's configuration.
        seed: of the cell; addresses data order, views and exploration.
        checkpoint: where the state lies; None keeps nothing.
        validate: scores the averaged model on the validation split.
    """

    def __init__(
        self,
        model: HybridModel,
        data: TaskData,
        config: TrainingConfig,
        halting: HaltingConfig,
        *,
        seed: int,
        checkpoint: Path | None = None,
        validate: Validate | None = None,
    ) -> None:
        make_deterministic(config)
        self.device = choose_device(config.device)
        self.model = model.to(self.device)
        self.model.set_gradient_checkpointing(config.gradient_checkpointing)
        self.data, self.config, self.seed = data, config, seed
        self.checkpoint, self.validate = checkpoint, validate
        self.optimizer = build_optimizer(self.model, config)
        self.ema = build_ema(self.model, config)
        self.scaler = build_scaler(config, self.device)
        self.agent = build_agent(self.model, halting, seed)
        self.log = TrainingLog()
        self.num_train = len(data.table.rows("train"))
        self.num_steps = total_steps(config, self.num_train)
        self.skipped_in_a_row = 0
        self._seconds_before, self._started = 0.0, time.perf_counter()

    def run(self) -> Trained:
        """Train from the checkpoint, or from the start where there is none.

        Raises:
            TrainingDivergedError: after ``max_skipped_steps`` updates in a row without a finite
                loss and gradient.
        """
        first = self._resume()
        batches = training_batches(
            self.data,
            first_step=first,
            num_steps=self.num_steps,
            batch_size=self.config.global_batch_size,
            seed=self.seed,
            with_clip=self.model.arm.has("clip"),
            device=self.device,
        )
        for step, batch in batches:
            self._update(step, batch)
            self._after_update(step + 1)
        return Trained(
            self.evaluated_model(), self.agent, self.log, self.num_steps, self._seconds()
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def evaluated_model(self) -> HybridModel:
        """The averaged weights where EMA is on, else the current ones."""
        return self.model if self.ema is None else cast(HybridModel, self.ema.module)

    def _update(self, step: int, batch: Batch) -> None:
        self.model.train()
        lr = learning_rate(step, self.num_steps, self.config)
        set_learning_rate(self.optimizer, lr)
        progress = step / self.num_steps
        policy = self._policy(step, progress)
        if self.config.update == "per_batch":
            values = self._one_update(batch, policy)
        else:
            values = self._update_each_step(batch, policy)
        if self.agent is not None:
            values |= self.agent.learn(rng_for("replay", self.seed, step), step, progress)
        self.log.add_update(step + 1, {"lr": lr, **values})
        self._count_skipped(step, bool(values["finite"]))

    def _policy(self, step: int, progress: float) -> HaltingPolicy | None:
        if self.agent is None:
            return None
        rng = rng_for("exploration", self.seed, step)
        return HaltingPolicy(self.agent, self.model, rng=rng, progress=progress, learner_step=step)

    def _one_update(self, batch: Batch, policy: HaltingPolicy | None) -> dict[str, float]:
        """Sum the losses of all supervision steps, over micro-batches, into one update."""
        self.optimizer.zero_grad(set_to_none=True)
        size = self.config.micro_batch_size or len(batch)
        loss, metrics = 0.0, dict[str, float]()
        for micro in batch.split(size):
            total: Tensor | None = None
            with autocast(self.config, self.device):
                for part in self._steps(micro, policy, reencode=False):
                    total = part.value if total is None else total + part.value
                    metrics |= part.metrics
            if total is None:
                raise RuntimeError("a batch without a supervision step")
            scaled = total.float() / len(batch)
            torch.autograd.backward(self.scaler.scale(scaled))
            loss += float(scaled.detach())
        return {"loss": loss, **metrics, **self._apply(loss)}

    def _update_each_step(self, batch: Batch, policy: HaltingPolicy | None) -> dict[str, float]:
        """One update per supervision step, as the official TRM code trains."""
        values: dict[str, float] = {"loss": 0.0}
        parts = self._steps(batch, policy, reencode=True)
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(self.config, self.device):
                part = next(parts, None)
            if part is None:
                return values
            scaled = part.value.float() / len(batch)
            torch.autograd.backward(self.scaler.scale(scaled))
            loss = float(scaled.detach())
            applied = self._apply(loss)
            applied["finite"] = min(applied["finite"], values.get("finite", 1.0))
            values |= {**part.metrics, **applied, "loss": values["loss"] + loss}

    def _steps(
        self, batch: Batch, policy: HaltingPolicy | None, *, reencode: bool
    ) -> Iterator[StepLoss]:
        return supervised_steps(
            self.model, batch, loss=self.config.loss, policy=policy, reencode=reencode
        )

    def _apply(self, loss: float) -> dict[str, float]:
        """Clip, step and average, unless loss or gradient is not finite."""
        self.scaler.unscale_(self.optimizer)
        trainable = [p for p in self.model.parameters() if p.requires_grad and p.grad is not None]
        limit = self.config.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(trainable, float("inf") if limit is None else limit)
        finite = bool(torch.isfinite(norm)) and loss == loss and abs(loss) != float("inf")
        if finite or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None and finite:
            self.ema.update_parameters(self.model)
        clipped = limit is not None and float(norm) > limit
        return {"grad_norm": float(norm), "clipped": float(clipped), "finite": float(finite)}

    def _count_skipped(self, step: int, finite: bool) -> None:
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= self.config.max_skipped_steps:
            raise TrainingDivergedError(
                f"{self.skipped_in_a_row} updates in a row up to update {step + 1} of "
                f"{self.num_steps} had a loss or gradient that is not finite",
                self.log,
                self._seconds(),
            )

    def _after_update(self, done: int) -> None:
        tracker = current_tracker()
        every = max(1, round(self.config.eval_interval * self.num_steps / self.config.epochs))
        last = done == self.num_steps
        if self.validate is not None and (done % every == 0 or last):
            scores = self.validate(self.evaluated_model())
            self.log.add_validation(done, scores)
            tracker.log_metrics({f"validation/{k}": v for k, v in scores.items()}, done)
            tracker.progress(done, self.num_steps, scores.get("score"))
        if done % LOG_EVERY_STEPS == 0 or last:
            row = {k: v for k, v in self.log.updates[-1].items() if k != "step"}
            tracker.log_metrics({f"train/{k}": v for k, v in row.items()}, done)
            tracker.progress(done, self.num_steps)
        if self.checkpoint is not None and (
            done % self.config.checkpoint_interval_steps == 0 or last
        ):
            logs = {"skipped": self.skipped_in_a_row, "seconds": self._seconds()}
            save_checkpoint(self.checkpoint, done, self._parts(), logs)

    def _resume(self) -> int:
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        step, logs = load_checkpoint(self.checkpoint, self._parts())
        self.skipped_in_a_row = int(logs["skipped"])
        self._seconds_before = float(logs["seconds"])
        return step

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "log": self.log,
        }
        if self.ema is not None:
            parts["ema"] = self.ema
        if self.agent is not None:
            parts["agent"] = self.agent
        return parts
