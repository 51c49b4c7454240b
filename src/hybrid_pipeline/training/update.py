"""One update of the learner, the same arithmetic for every arm, on a CPU and captured on a GPU.

On a GPU it reads nothing back to the host and its shapes never change: losses, the loss scale,
skipped updates and metrics stay tensors. On a CPU one thing differs: the planner runs for the rows
that expand, where a GPU runs it for all rows and drops the others.

Every supervision step goes backward by itself into a detached leaf of the slots x, and the encoder
goes backward once from what gathered there. That gives the gradient of the sum of the losses, and
holds one step's graph at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_pipeline.config import PrimaryMetric, TrainingConfig
from hybrid_pipeline.halting.dqn import DqnAgent, DqnInputs
from hybrid_pipeline.halting.observer import Observer
from hybrid_pipeline.halting.replay import Transitions
from hybrid_pipeline.models.elementwise import in_full_precision
from hybrid_pipeline.models.encoder import Encoding
from hybrid_pipeline.models.hybrid import HybridModel, StepOutput
from hybrid_pipeline.models.parts import Carry
from hybrid_pipeline.training.loader import Batch
from hybrid_pipeline.training.losses import LossName, example_losses
from hybrid_pipeline.training.optim import LossScale, MovingAverage, Optimizers
from hybrid_pipeline.training.precision import autocast


@dataclass(frozen=True)
class UpdateInputs:
    """What an update is given beside its batch; known before it.

    Attributes:
        lr: [], the rate.
        dqn: what the DQN draws, stores and replays; ``None`` for arms without one.
    """

    lr: Tensor
    dqn: DqnInputs | None = None


class Update:
    """Changes the learner and all that follows it; call it once per update.

    Args:
        model: the arm.
        config: loss, clipping, precision, micro-batches, update rule.
        optimizer: of the model, from ``build_optimizer``.
        scale: of the loss.
        ema: the moving average; ``None`` without one.
        agent: the DQN that observes; ``None`` for arms without one.
        metric: the task's primary metric, the DQN's reward.
    """

    def __init__(
        self,
        model: HybridModel,
        config: TrainingConfig,
        *,
        optimizer: Optimizers,
        scale: LossScale,
        ema: MovingAverage | None,
        agent: DqnAgent | None,
        metric: PrimaryMetric,
    ) -> None:
        self.model, self.config = model, config
        self.optimizer, self.scale, self.ema, self.agent = optimizer, scale, ema, agent
        self.metric: PrimaryMetric = metric
        self._trained = [p for p in model.parameters() if p.requires_grad]

    def __call__(self, batch: Batch, inputs: UpdateInputs) -> dict[str, Tensor]:
        """Train on one batch; the metrics are tensors without a graph, each of shape [].

        Those of the parts are of the first supervision step, in which every row plans.
        """
        self.model.train()
        self.optimizer.set_rate(inputs.lr)
        if self.config.update == "per_batch":
            metrics, observers = self._per_batch(batch, inputs.dqn)
        else:
            metrics, observers = self._per_supervision_step(batch, inputs.dqn)
        if self.agent is not None and inputs.dqn is not None:
            seen = Transitions.concatenate([observer.transitions() for observer in observers])
            self.agent.replay.write(inputs.dqn.stored_at, seen)
            metrics |= self.agent.learn(inputs.dqn.replayed, inputs.dqn.target_weights)
        return metrics

    def _per_batch(
        self, batch: Batch, dqn: DqnInputs | None
    ) -> tuple[dict[str, Tensor], list[Observer]]:
        """Sum the losses of all supervision steps, over micro-batches, into one update."""
        self.optimizer.zero_grad()
        size = self.config.micro_batch_size or len(batch)
        losses: list[Tensor] = []
        metrics: dict[str, Tensor] = {}
        observers = []
        for index, micro in enumerate(batch.split(size)):
            observer = self._observer(micro, dqn, index * size)
            observers += [] if observer is None else [observer]
            encoding, x = self._encode(micro)
            carry, expand = self.model.initial_carry(x), None
            for step in range(self.model.max_steps):
                out, loss = self._backward(micro, x, carry, expand, len(batch))
                losses.append(loss)
                if step == 0:
                    metrics = self.model.metrics(encoding, out)
                expand = self._watch(observer, out)
                carry = out.carry.detach()
            _backward_encoder(encoding, x)
        loss = torch.stack(losses).sum()
        return {"loss": loss, **metrics, **self._apply(loss)}, observers

    def _per_supervision_step(
        self, batch: Batch, dqn: DqnInputs | None
    ) -> tuple[dict[str, Tensor], list[Observer]]:
        """One update per supervision step, as the official TRM code trains; each encodes anew."""
        observer = self._observer(batch, dqn, 0)
        carry, expand = None, None
        every: list[dict[str, Tensor]] = []
        metrics: dict[str, Tensor] = {}
        for step in range(self.model.max_steps):
            self.optimizer.zero_grad()
            encoding, x = self._encode(batch)
            carry = self.model.initial_carry(x) if carry is None else carry
            out, loss = self._backward(batch, x, carry, expand, len(batch))
            _backward_encoder(encoding, x)
            every.append({"loss": loss, **self._apply(loss)})
            if step == 0:
                metrics = self.model.metrics(encoding, out)
            expand = self._watch(observer, out)
            carry = out.carry.detach()
        metrics = every[-1] | metrics
        metrics["loss"] = torch.stack([one["loss"] for one in every]).sum()
        metrics["finite"] = torch.stack([one["finite"] for one in every]).amin()
        return metrics, [] if observer is None else [observer]

    def _observer(self, batch: Batch, dqn: DqnInputs | None, first: int) -> Observer | None:
        if self.agent is None or dqn is None:
            return None
        return Observer(
            self.agent,
            dqn.draws.rows(slice(first, first + len(batch))),
            batch.targets,
            batch.scored,
            metric=self.metric,
            max_steps=self.model.max_steps,
        )

    def _watch(self, observer: Observer | None, out: StepOutput) -> Tensor | None:
        return None if observer is None else observer.watch(out.state, out.logits)

    def _encode(self, batch: Batch) -> tuple[Encoding, Tensor]:
        """The slots with their graph, and the leaf that the supervision steps start from."""
        with autocast(self.config, batch.images.device):
            encoding = self.model.encode(batch.images, batch.clip)
        return encoding, encoding.x.detach().requires_grad_()

    def _backward(
        self, batch: Batch, x: Tensor, carry: Carry, expand: Tensor | None, batch_size: int
    ) -> tuple[StepOutput, Tensor]:
        """One supervision step, forward and backward; its share of the loss, without a graph."""
        with autocast(self.config, x.device):
            out = self.model.step(carry, x, expand)
            losses = step_losses(self.model, out, batch, self.config.loss, expand)
        loss = in_full_precision(losses).sum() / batch_size
        torch.autograd.backward(self.scale.scaled(loss))
        return out, loss.detach()

    def _apply(self, loss: Tensor) -> dict[str, Tensor]:
        """Clip, step and average, unless loss or gradient is not finite."""
        gradients = [p.grad for p in self._trained if p.grad is not None]
        self.scale.unscale_(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        limit = self.config.max_grad_norm
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(self._trained, limit, norm)
        self.optimizer.step(finite)
        self.scale.update(finite)
        if self.ema is not None:
            self.ema.update(finite)
        clipped = torch.zeros_like(norm) if limit is None else (norm > limit).float()
        return {"grad_norm": norm, "clipped": clipped, "finite": finite.float()}


def _backward_encoder(encoding: Encoding, x: Tensor) -> None:
    """Send what gathered at the leaf on into the encoder."""
    if x.grad is not None:
        torch.autograd.backward(encoding.x, x.grad)


def step_losses(
    model: HybridModel, out: StepOutput, batch: Batch, loss: LossName, expand: Tensor | None
) -> Tensor:
    """Each example's loss after a supervision step [B]; the plan's penalty where it planned."""
    losses = example_losses(out.logits, batch.targets, batch.scored, loss)
    penalty = model.penalty(out)
    if penalty is None:
        return losses
    if expand is not None:
        penalty = torch.where(expand, penalty, 0.0)
    return losses + penalty
