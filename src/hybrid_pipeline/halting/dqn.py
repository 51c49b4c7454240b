"""Double DQN over halting decisions, with its own replay, target network and optimiser.

Sources: Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015
(replay, target network); van Hasselt et al., "Deep reinforcement learning with double Q-learning",
AAAI 2016, equation 4 (double DQN); Lillicrap et al., "Continuous control with deep reinforcement
learning", ICLR 2016, section 3 (Polyak averaged target); Hessel et al., "Rainbow", AAAI 2018 (Adam
with eps 1.5e-4).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.halting.exploration import (
    Exploration,
    ExplorationSchedule,
    masked_argmax,
)
from hybrid_pipeline.halting.replay import ReplayBuffer, Transitions
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.torch_seeding import torch_seeded

ADAM_EPS = 1.5e-4
QHeadBuilder = Callable[[int, int, int], nn.Module]


def td_target(
    reward: Float[Tensor, " batch"],
    next_q_online: Float[Tensor, "batch actions"],
    next_q_target: Float[Tensor, "batch actions"],
    done: Bool[Tensor, " batch"],
    gamma: float,
    legal: Bool[Tensor, "batch actions"] | None = None,
) -> Float[Tensor, " batch"]:
    """Double DQN: r + gamma Q_target(s', argmax over legal a of Q_online(s', a)); r where done.

    Args:
        reward: of the transition.
        next_q_online: choose the next action.
        next_q_target: value it.
        done: the episode ended, by halting or at the bound.
        gamma: discount.
        legal: actions legal in the next state; all unless given.
    """
    legal = torch.ones_like(next_q_online, dtype=torch.bool) if legal is None else legal
    chosen = masked_argmax(next_q_online, legal)
    value = next_q_target.gather(1, chosen[:, None])[:, 0]
    return reward + gamma * value.masked_fill(done, 0.0)


@dataclass(frozen=True)
class DqnInputs:
    """What the DQN takes part in an update with; known before it, and of the same shapes in all.

    Attributes:
        draws: the exploration.
        stored_at: rows of the replay for the update's transitions.
        replayed: rows to learn from, [updates of Q, batch]; none while Q is frozen.
        target_weights: how far the target network moves after each update of Q, in [0, 1].
    """

    draws: Exploration
    stored_at: Int[Tensor, " transitions"]
    replayed: Int[Tensor, "q_updates batch"]
    target_weights: Float[Tensor, " q_updates"]


class DqnAgent:
    """The halting policy: Q-network, target network, replay and optimiser, in fp32.

    ``plan`` decides on the host what an update needs; ``q_values``, ``remember`` and ``learn`` are
    tensor operations on the device and read nothing back. During the first ``dqn_warmup_ratio`` of
    training the expansions are drawn uniformly; under ``freeze_representation_during_warmup`` Q is
    not updated either. At no time does a gradient reach what produced the states: they are detached
    when they are made, stored and read.

    Attributes:
        replay: the stored transitions.
        schedule: temperature, epsilon and penalty by progress.
        num_updates: updates of the Q-network planned so far.

    Args:
        config: exploration, replay, target rule and learning rate.
        state_dim: width of a state.
        num_actions: 2 or 3.
        seed: root seed of the initial weights.
        build_q_head: (state_dim, num_actions, hidden_dim) to a module of action values.
        device: of the networks and the replay.
    """

    def __init__(
        self,
        config: HaltingConfig,
        state_dim: int,
        num_actions: int,
        seed: int,
        build_q_head: QHeadBuilder,
        device: torch.device | None = None,
    ) -> None:
        self.config, self.num_actions = config, num_actions
        self.schedule = ExplorationSchedule(config)
        with torch_seeded(seed_for("q_head", seed)):
            self.q = build_q_head(state_dim, num_actions, config.hidden_dim).float().to(device)
        self.target = copy.deepcopy(self.q).requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.q.parameters(),
            lr=config.lr_dqn,
            eps=ADAM_EPS,
            fused=True,
            capturable=device is not None and device.type == "cuda",
        )
        self.replay = ReplayBuffer(
            config.replay_capacity,
            state_dim,
            num_actions,
            recent_fraction=config.replay_recent_fraction,
            recent_size=config.replay_recent_size,
            max_age_steps=config.replay_max_age_steps,
            device=device,
        )
        self.num_updates = 0

    def plan(
        self,
        explore_rng: np.random.Generator,
        replay_rng: np.random.Generator,
        learner_step: int,
        progress: float,
        *,
        batch: int,
        decisions: int,
        transitions: int,
    ) -> DqnInputs:
        """Decide on the host what the next update of the learner draws, stores and replays.

        Args:
            explore_rng: source of the exploration.
            replay_rng: source of the draws from the replay.
            learner_step: updates of the learner so far.
            progress: share of training done, 0 to 1.
            batch: examples of the update.
            decisions: per example.
            transitions: that the update will store.
        """
        draws = self.schedule.draw(
            explore_rng,
            progress,
            decisions=decisions,
            batch=batch,
            num_actions=self.num_actions,
        )
        stored_at = self.replay.place(transitions, learner_step)
        replayed, weights = self.plan_learning(replay_rng, learner_step, progress)
        return DqnInputs(draws, stored_at, replayed, weights)

    def plan_learning(
        self, rng: np.random.Generator, learner_step: int, progress: float
    ) -> tuple[Int[Tensor, "q_updates batch"], Float[Tensor, " q_updates"]]:
        """Rows to replay and weights of the target; none in a warm-up that freezes Q.

        Nothing is replayed either where no stored transition is young enough.
        """
        frozen = (
            self.schedule.in_warmup(progress) and self.config.freeze_representation_during_warmup
        )
        if frozen or not self.replay.num_eligible(learner_step):
            return torch.empty(0, self.config.batch_size, dtype=torch.int64), torch.empty(0)
        rows = [
            self.replay.draw(self.config.batch_size, rng, learner_step)
            for _ in range(self.config.updates_per_step)
        ]
        return torch.stack(rows), torch.tensor([self._next_weight() for _ in rows])

    def _next_weight(self) -> float:
        self.num_updates += 1
        if self.config.target_tau is not None:
            return self.config.target_tau
        return float(self.num_updates % (self.config.target_period or 1) == 0)

    def metrics(self, progress: float) -> dict[str, float]:
        """What is known without reading a tensor: schedules, replay size, updates of Q."""
        return self.schedule.metrics(progress) | {
            "halting/replay_size": float(len(self.replay)),
            "halting/num_updates": float(self.num_updates),
        }

    @torch.no_grad()
    def q_values(self, states: Float[Tensor, "batch features"]) -> Float[Tensor, "batch actions"]:
        """Action values of the online network in fp32, whatever autocast says."""
        with torch.autocast(states.device.type, enabled=False):
            values: Tensor = self.q(states.detach().float())
        return values

    def greedy(
        self, states: Float[Tensor, "batch features"], legal: Bool[Tensor, "batch actions"]
    ) -> Int[Tensor, " batch"]:
        """The best legal action of each example, as in evaluation; halting wins ties."""
        return masked_argmax(self.q_values(states), legal)

    def learn(
        self, replayed: Int[Tensor, "q_updates batch"], target_weights: Float[Tensor, " q_updates"]
    ) -> dict[str, Tensor]:
        """Update Q from rows of the replay, and let the target network follow.

        Returns:
            ``halting/td_loss``, ``q_mean`` and ``q_max`` of the last update, without a graph; empty
            without an update.
        """
        metrics: dict[str, Tensor] = {}
        for rows, weight in zip(replayed.unbind(0), target_weights.unbind(0), strict=True):
            metrics = self._update(self.replay.read(rows), weight)
        return metrics

    def _update(self, batch: Transitions, target_weight: Tensor) -> dict[str, Tensor]:
        with torch.autocast(batch.states.device.type, enabled=False), torch.enable_grad():
            q = self.q(batch.states)
            with torch.no_grad():
                target = td_target(
                    batch.rewards,
                    self.q(batch.next_states),
                    self.target(batch.next_states),
                    batch.done,
                    self.config.gamma,
                    batch.next_legal | batch.done[:, None],
                )
            loss = F.mse_loss(q.gather(1, batch.actions[:, None])[:, 0], target)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for t, o in zip(self.target.parameters(), self.q.parameters(), strict=True):
                t.lerp_(o, target_weight)
        return {
            "halting/td_loss": loss.detach(),
            "halting/q_mean": q.detach().mean(),
            "halting/q_max": q.detach().max(),
        }

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that an update of the learner changes."""
        yield from (*self.q.parameters(), *self.target.parameters())
        for state in self.optimizer.state.values():
            yield from state.values()
        yield from self.replay.columns.values()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to go on bit for bit (random draws are the caller's)."""
        return {
            "q": copy.deepcopy(self.q.state_dict()),
            "target": copy.deepcopy(self.target.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "replay": self.replay.state_dict(),
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.q.load_state_dict(state["q"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self.num_updates = int(state["num_updates"])
