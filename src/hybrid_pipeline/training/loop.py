"""The training loop, one for all arms: inputs, updates, what is logged, kept and validated.

An update is ``training.update``, which reads nothing back; on a GPU it is replayed as one graph
(``training.capture``). What it measured is read once in ``LOG_EVERY_STEPS`` updates, and before
anything is kept; so that is also when divergence is seen. Between updates other cells of the same
process take their turn (``training.turns``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from hybrid_pipeline.config import HaltingConfig, TrainingConfig
from hybrid_pipeline.halting.actions import num_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.observer import num_transitions
from hybrid_pipeline.halting.state import state_dim
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.models.q_head import QHead
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.training.capture import Captured, tensors_in
from hybrid_pipeline.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from hybrid_pipeline.training.cost import parameter_counts
from hybrid_pipeline.training.loader import (
    Choice,
    Decoder,
    StoredBatch,
    TaskData,
    training_batches,
    training_choice,
)
from hybrid_pipeline.training.logs import MetricBlock, TrainingLog
from hybrid_pipeline.training.optim import (
    LossScale,
    build_ema,
    build_optimizer,
    learning_rate,
    total_steps,
)
from hybrid_pipeline.training.precision import (
    choose_device,
    make_deterministic,
    taken_bytes,
    wait_for,
)
from hybrid_pipeline.training.resident import resident_data
from hybrid_pipeline.training.room import room_on
from hybrid_pipeline.training.tracker import current_tracker
from hybrid_pipeline.training.turns import TURNS
from hybrid_pipeline.training.update import Update, UpdateInputs

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
        agent: the DQN; None for arms with one supervision step.
        log: every update and validation.
        num_steps: updates of the whole run.
        seconds: wall time of training, interruptions left out.
        parameters: ``parameter_counts`` of what was updated; the averaged copy takes no gradient.
    """

    model: HybridModel
    agent: DqnAgent | None
    log: TrainingLog
    num_steps: int
    seconds: float
    parameters: Mapping[str, int]


@dataclass(frozen=True)
class StepInputs:
    """All that changes from one update to the next.

    Attributes:
        batch: the examples, or which of those on the device.
        given: to the update beside its batch.
        slot: int64 [1], the row of the block that the metrics go to.
    """

    batch: StoredBatch | Choice
    given: UpdateInputs
    slot: Tensor


def build_agent(
    model: HybridModel, config: HaltingConfig, seed: int, device: torch.device | None = None
) -> DqnAgent | None:
    """The DQN that watches an arm; None if there is one step, or ``policy`` is ``fixed``."""
    if not model.arm.halts or config.policy == "fixed" or model.max_steps == 1:
        return None
    return DqnAgent(
        config,
        state_dim(model.config.core.dim),
        num_actions(can_expand=model.can_plan),
        seed,
        QHead,
        device,
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
        self.resident = resident_data(data, self.device, with_clip=model.arm.reads_tokens)
        self._bytes_before = taken_bytes(self.device)
        self.model = model.to(self.device)
        self.model.set_gradient_checkpointing(config.gradient_checkpointing)
        self.model.static_shapes = self.device.type == "cuda"
        self.data, self.config, self.seed = data, config, seed
        self.checkpoint, self.validate = checkpoint, validate
        self.optimizer = build_optimizer(self.model, config)
        self.ema = build_ema(self.model, config)
        self.scale = LossScale(enabled=config.precision == "fp16", device=self.device)
        self.agent = build_agent(self.model, halting, seed, self.device)
        self.update = Update(
            self.model,
            config,
            optimizer=self.optimizer,
            scale=self.scale,
            ema=self.ema,
            agent=self.agent,
            metric=data.table.primary_metric,
        )
        self.log, self.block = TrainingLog(), MetricBlock(LOG_EVERY_STEPS, self.device)
        self.decode = Decoder(data.features if model.arm.reads_tokens else None, self.device)
        self.num_train = len(data.table.rows("train"))
        self.num_steps = total_steps(config, self.num_train)
        self.skipped_in_a_row = 0
        self._seconds_before, self._started = 0.0, time.perf_counter()

    def run(self) -> Trained:
        """Train from the checkpoint, or from the start where there is none.

        Raises:
            TrainingDivergedError: after ``max_skipped_steps`` updates in a row without a finite
                loss and gradient, seen at the next reading of the metrics.
        """
        for _ in self.steps():
            TURNS.pass_on()
        return self.trained()

    def steps(self) -> Iterator[int]:
        """Train, yielding the number of updates done after each.

        Raises:
            TrainingDivergedError: as ``run`` does.
        """
        run = Captured(self._step, self._state, self.device, enabled=self.config.capture)
        try:
            first = self._resume()
            for step, batch in self._batches(first):
                self._update(run, step, batch)
                if step == first and self.device.type == "cuda":
                    room_on(self.device).settled(taken_bytes(self.device) - self._bytes_before)
                self._after_update(step + 1)
                yield step + 1
        finally:
            run.close()

    def _batches(self, first: int) -> Iterator[tuple[int, StoredBatch | Choice]]:
        """What each update from ``first`` on trains on: by number if it lies on the device."""
        size = self.config.global_batch_size
        if self.resident is None:
            yield from training_batches(
                self.data,
                first_step=first,
                num_steps=self.num_steps,
                batch_size=size,
                seed=self.seed,
                with_clip=self.model.arm.reads_tokens,
                pinned=self.device.type == "cuda",
            )
            return
        train = self.data.table.rows("train")
        for step in range(first, self.num_steps):
            rows, views = training_choice(step, train, size, self.seed)
            yield step, Choice(torch.from_numpy(rows), torch.from_numpy(views))

    def trained(self) -> Trained:
        """What training has brought."""
        return Trained(
            model=self.evaluated_model(),
            agent=self.agent,
            log=self.log,
            num_steps=self.num_steps,
            seconds=self._seconds(),
            parameters=parameter_counts(self.model),
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def evaluated_model(self) -> HybridModel:
        """The averaged weights where EMA is on, else the current ones."""
        return self.model if self.ema is None else cast(HybridModel, self.ema.module)

    def _update(self, run: Captured[StepInputs], step: int, batch: StoredBatch | Choice) -> None:
        given, known = self._inputs(step, len(batch))
        slot = torch.tensor([len(self.block)])
        metrics = run(StepInputs(batch, given, slot))
        self.block.add({"step": step + 1, **known}, tuple(metrics))

    def _step(self, inputs: StepInputs) -> Mapping[str, Tensor]:
        """One update from its inputs to its row of metrics: what a graph holds."""
        batch = inputs.batch
        if self.resident is not None and isinstance(batch, Choice):
            batch = self.resident.gather(batch)
        metrics = self.update(self.decode(cast("StoredBatch", batch)), inputs.given)
        self.block.write(inputs.slot, metrics)
        return metrics

    def _state(self) -> Iterable[Tensor]:
        """Every tensor that an update changes."""
        parts: list[Stateful] = [self.model, self.optimizer, self.scale]
        if self.ema is not None:
            parts.append(self.ema)
        yield from tensors_in([part.state_dict() for part in parts])
        yield self.block.values
        if self.agent is not None:
            yield from self.agent.tensors()

    def _inputs(self, step: int, batch: int) -> tuple[UpdateInputs, dict[str, float]]:
        """What update ``step`` is given beside its batch, and what is known of it beforehand."""
        lr = learning_rate(step, self.num_steps, self.config)
        known, dqn = {"lr": lr}, None
        if self.agent is not None:
            depth, progress = self.model.max_steps, step / self.num_steps
            dqn = self.agent.plan(
                rng_for("exploration", self.seed, step),
                rng_for("replay", self.seed, step),
                step,
                progress,
                batch=batch,
                decisions=depth - 1,
                transitions=num_transitions(
                    batch, min_steps=self.agent.config.min_steps, max_steps=depth
                ),
            )
            known |= self.agent.metrics(progress)
        return UpdateInputs(torch.tensor(lr), dqn), known

    def _read_metrics(self) -> None:
        """Bring the block's metrics into the log; end the run where it has diverged."""
        with TURNS.left():
            wait_for(self.device)
        for row in self.block.read():
            step = int(row.pop("step"))
            self.log.add_update(step, row)
            self.skipped_in_a_row = 0 if row["finite"] else self.skipped_in_a_row + 1
            if self.skipped_in_a_row >= self.config.max_skipped_steps:
                raise TrainingDivergedError(
                    f"{self.skipped_in_a_row} updates in a row up to update {step} of "
                    f"{self.num_steps} had a loss or gradient that is not finite",
                    self.log,
                    self._seconds(),
                )

    def _after_update(self, done: int) -> None:
        tracker, last = current_tracker(), done == self.num_steps
        every = max(1, round(self.config.eval_interval * self.num_steps / self.config.epochs))
        keeps = self.checkpoint is not None and (
            done % self.config.checkpoint_interval_steps == 0 or last
        )
        logs = done % LOG_EVERY_STEPS == 0 or last
        if logs or keeps:
            self._read_metrics()
        if self.validate is not None and (done % every == 0 or last):
            scores = self.validate(self.evaluated_model())
            self.log.add_validation(done, scores)
            tracker.log_metrics({f"validation/{k}": v for k, v in scores.items()}, done)
            tracker.progress(done, self.num_steps, scores.get("score"))
        if logs:
            row = {k: v for k, v in self.log.updates[-1].items() if k != "step"}
            tracker.log_metrics({f"train/{k}": v for k, v in row.items()}, done)
            tracker.progress(done, self.num_steps)
        if keeps and self.checkpoint is not None:
            state = {"skipped": self.skipped_in_a_row, "seconds": self._seconds()}
            save_checkpoint(self.checkpoint, done, self._parts(), state)

    def _resume(self) -> int:
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        step, logs = load_checkpoint(self.checkpoint, self._parts())
        self.optimizer.rate_on(self.device)
        self.skipped_in_a_row = int(logs["skipped"])
        self._seconds_before = float(logs["seconds"])
        return step

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scale": self.scale,
            "log": self.log,
        }
        if self.ema is not None:
            parts["ema"] = self.ema
        if self.agent is not None:
            parts["agent"] = self.agent
        return parts
