"""One batch through its supervision steps, with the halting policy deciding how deep each goes.

A supervision step is: TRM's recursion (or the core once), then COCONUT's planning for the rows that
expand. The first step always plans. After it the policy chooses for every row: halt, continue
(recursion alone) or expand (recursion, then planning). During the DQN's warm-up every row goes to
full depth while random actions fill the replay; a halt drawn then is stored with its reward and not
carried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hybrid_pipeline.halting.actions import CONTINUE, EXPAND, HALT, legal_actions, num_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.replay import Transitions
from hybrid_pipeline.halting.reward import action_rewards, slot_accuracy
from hybrid_pipeline.halting.state import state_features
from hybrid_pipeline.models.coconut import disagreement
from hybrid_pipeline.models.hybrid import Encoding, HybridModel, StepOutput
from hybrid_pipeline.models.trm import Carry
from hybrid_pipeline.training.loader import Batch
from hybrid_pipeline.training.losses import LossName, example_losses


@dataclass
class StepLoss:
    """Loss of one supervision step: the sum over its rows, to be divided by the batch size."""

    value: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class _Pending:
    """Decisions whose outcome the next supervision step shows."""

    state: Tensor
    action: Tensor


def detach(carry: Carry, rows: Tensor | None = None) -> Carry:
    """Cut the graph between supervision steps, keeping only some rows where given."""
    carry = carry.detach()
    if rows is None:
        return carry
    return Carry(carry.z_H[rows], carry.z_L[rows], carry.steps[rows], carry.halted[rows])


class HaltingPolicy:
    """The DQN at work during training: chooses actions and stores transitions.

    Args:
        agent: the learner.
        model: tells which actions exist and how deep a row may go.
        rng: stream of this update's random numbers.
        progress: share of training done, in [0, 1].
        learner_step: update of the model, for the age of transitions.
    """

    def __init__(
        self,
        agent: DqnAgent,
        model: HybridModel,
        *,
        rng: np.random.Generator,
        progress: float,
        learner_step: int,
    ) -> None:
        self.agent, self.rng = agent, rng
        self.progress, self.learner_step = progress, learner_step
        self.can_expand = model.arm.has("coconut")
        self.num_actions = num_actions(can_expand=self.can_expand)
        self.max_steps = model.max_steps
        self.in_warmup = agent.in_warmup(progress)
        self._pending: _Pending | None = None

    def decide(self, out: StepOutput, batch: Batch, step: int, expansions: Tensor) -> Tensor:
        """Actions [B] after supervision step ``step`` (from 1); stores what they complete."""
        states = state_features(
            out.state, out.logits, batch.scored, step, self.max_steps, expansions
        ).cpu()
        score = slot_accuracy(out.logits.argmax(-1), batch.targets, batch.scored).cpu()
        last = step == self.max_steps
        legal = legal_actions(
            step,
            min_steps=self.agent.config.min_steps,
            max_steps=self.max_steps,
            num_actions=self.num_actions,
            batch_size=len(batch),
        )
        self._complete(states, score, legal, last=last)
        if last:
            return torch.full((len(batch),), HALT)
        actions = self.agent.act(states, legal, self.progress, self.rng)
        halting = actions == HALT
        self._remember(
            _Pending(states[halting], actions[halting]),
            score[halting],
            states[halting],
            legal[halting],
            done=True,
        )
        if self.in_warmup:
            actions = torch.where(halting, self._carried_out(len(batch)), actions)
        going = actions != HALT
        self._pending = _Pending(states[going], actions[going])
        return actions

    def _carried_out(self, size: int) -> Tensor:
        """In the warm-up depth is fixed: a drawn halt becomes continue or expand at random."""
        if self.num_actions == 2:
            return torch.full((size,), CONTINUE)
        return torch.from_numpy(np.where(self.rng.random(size) < 0.5, CONTINUE, EXPAND))

    def _complete(self, states: Tensor, score: Tensor, legal: Tensor, *, last: bool) -> None:
        """Store last step's decisions; at the bound the forced halt's accuracy is theirs."""
        if self._pending is not None:
            self._remember(self._pending, score, states, legal, done=last)
        self._pending = None

    def _remember(
        self, taken: _Pending, score: Tensor, next_states: Tensor, legal: Tensor, *, done: bool
    ) -> None:
        if not len(taken.action):
            return
        rewards = action_rewards(
            taken.action,
            score,
            step_cost=self.agent.config.step_cost,
            expansion_penalty=self.agent.expansion_penalty(self.progress),
        )
        if done:
            rewards = rewards + score.where(taken.action != HALT, torch.zeros(()))
        ended = torch.full((len(score),), done)
        self.agent.remember(
            Transitions(taken.state, taken.action, rewards, next_states, ended, legal),
            self.learner_step,
        )


def supervised_steps(
    model: HybridModel,
    batch: Batch,
    *,
    loss: LossName,
    policy: HaltingPolicy | None,
    reencode: bool,
) -> Iterator[StepLoss]:
    """Yield the loss of each supervision step of a batch.

    Args:
        model: the arm.
        batch: B examples.
        loss: name of the slot loss.
        policy: decides the depth; None for full depth, planning in every step.
        reencode: encode the images anew for every step, because the weights changed between.
    """
    encoding = model.encode(batch.images, batch.clip)
    carry = model.initial_carry(encoding.x)
    size = len(batch)
    expansions = torch.zeros(size, dtype=torch.int64)
    expand: Tensor | None = None
    for step in range(1, model.max_steps + 1):
        if reencode and step > 1:
            encoding = model.encode(batch.images, batch.clip)
        out = model.step(carry, encoding.x, expand)
        per_example = example_losses(out.logits, batch.targets, batch.scored, loss)
        value = per_example.sum()
        weight = model.config.coconut.diversity_weight
        if out.plan is not None and weight:
            value = value + weight * len(out.plan.weights) * out.plan.diversity_loss()
        yield StepLoss(value, step_metrics(model, encoding, out))
        if step == model.max_steps and policy is None:
            return
        keep = None
        if policy is not None:
            actions = policy.decide(out, batch, step, expansions)
            going = actions != HALT
            if not bool(going.any()):
                return
            expand = (actions == EXPAND)[going] if policy.can_expand else None
            expansions = (expansions + (actions == EXPAND))[going]
            if not bool(going.all()):
                keep = going.nonzero().squeeze(1)
                batch, encoding = _select(batch, encoding, keep)
        carry = detach(out.carry, keep)


@torch.no_grad()
def step_metrics(model: HybridModel, encoding: Encoding, out: StepOutput) -> dict[str, float]:
    """Mean gate, entropy of the path weights (nats) and disagreement of the paths."""
    metrics = {}
    if encoding.gate is not None:
        metrics["fusion/gate_mean"] = float(encoding.gate.mean())
    if out.plan is not None:
        paths = model.head(out.plan.states)
        everywhere = torch.ones(paths.shape[0], paths.shape[2], dtype=torch.bool)
        metrics["coconut/weight_entropy"] = float(out.plan.weight_entropy())
        metrics["coconut/disagreement"] = float(disagreement(paths, everywhere))
    return metrics


def _select(batch: Batch, encoding: Encoding, rows: Tensor) -> tuple[Batch, Encoding]:
    clip = None if batch.clip is None else batch.clip[rows]
    kept = Batch(batch.images[rows], clip, batch.targets[rows], batch.scored[rows])
    return kept, Encoding(encoding.x[rows], encoding.gate)
