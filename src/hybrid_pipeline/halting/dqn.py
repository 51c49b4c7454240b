"""Double DQN over halting decisions, with its own replay, target network and optimiser.

Sources: Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015
(replay, target network); van Hasselt et al., "Deep reinforcement learning with double Q-learning",
AAAI 2016, equation 4 (double DQN); Lillicrap et al., "Continuous control with deep reinforcement
learning", ICLR 2016, section 3 (Polyak averaged target); Hessel et al., "Rainbow", AAAI 2018 (Adam
with eps 1.5e-4).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.halting.replay import ReplayBuffer, Transitions
from hybrid_pipeline.halting.schedules import anneal, progress_after
from hybrid_pipeline.seeding import seed_for

ADAM_EPS = 1.5e-4
QHeadBuilder = Callable[[int, int, int], nn.Module]


def masked_argmax(
    values: Float[Tensor, "batch actions"], legal: Bool[Tensor, "batch actions"]
) -> Int[Tensor, " batch"]:
    """The legal action of highest value; the first of equals."""
    return values.masked_fill(~legal, -torch.inf).argmax(dim=1)


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


class DqnAgent:
    """The halting policy: Q-network, target network, replay and optimiser, in fp32.

    During the first ``dqn_warmup_ratio`` of training ``act`` draws uniformly among the legal
    actions and fills the replay; under ``freeze_representation_during_warmup`` Q is not updated
    either. At no time does a gradient reach what produced the states: they are detached when they
    are made, stored and read.

    Attributes:
        replay: the stored transitions.
        num_updates: updates of the Q-network so far.

    Args:
        config: exploration, replay, target rule and learning rate.
        state_dim: width of a state.
        num_actions: 2 or 3.
        seed: root seed of the initial weights.
        build_q_head: (state_dim, num_actions, hidden_dim) to a module of action values.
    """

    def __init__(
        self,
        config: HaltingConfig,
        state_dim: int,
        num_actions: int,
        seed: int,
        build_q_head: QHeadBuilder,
    ) -> None:
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("q_head", seed))
            self.q = build_q_head(state_dim, num_actions, config.hidden_dim).float()
        self.target = copy.deepcopy(self.q).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=config.lr_dqn, eps=ADAM_EPS)
        self.replay = ReplayBuffer(
            config.replay_capacity,
            state_dim,
            num_actions,
            recent_fraction=config.replay_recent_fraction,
            recent_size=config.replay_recent_size,
            max_age_steps=config.replay_max_age_steps,
        )
        self.num_updates = 0

    def in_warmup(self, progress: float) -> bool:
        """Whether this share of training (0 to 1) still belongs to the warm-up."""
        return progress < self.config.dqn_warmup_ratio

    def temperature(self, progress: float) -> float:
        """``q_temperature``, annealed over what follows the warm-up."""
        after = progress_after(self.config.dqn_warmup_ratio, progress)
        return anneal(self.config.q_temperature_start, self.config.q_temperature_end, after)

    def epsilon(self, progress: float) -> float:
        """Share of random actions under ``exploration: epsilon``, annealed like the temperature."""
        after = progress_after(self.config.dqn_warmup_ratio, progress)
        return anneal(self.config.epsilon_start, self.config.epsilon_end, after)

    def expansion_penalty(self, progress: float) -> float:
        """What an expansion costs beyond its step, annealed like the temperature."""
        after = progress_after(self.config.dqn_warmup_ratio, progress)
        start, end = self.config.expansion_penalty_start, self.config.expansion_penalty_end
        return anneal(start, end, after)

    @torch.no_grad()
    def q_values(self, states: Float[Tensor, "batch features"]) -> Float[Tensor, "batch actions"]:
        """Action values of the online network, on the CPU, whatever autocast says."""
        with torch.autocast("cpu", enabled=False):
            values: Tensor = self.q(states.detach().to("cpu", torch.float32))
        return values

    def act(
        self,
        states: Float[Tensor, "batch features"],
        legal: Bool[Tensor, "batch actions"],
        progress: float,
        rng: np.random.Generator,
        greedy: bool = False,
    ) -> Int[Tensor, " batch"]:
        """Choose a legal action per example; the answer is on the CPU.

        Args:
            states: from ``state_features``.
            legal: from ``legal_actions``; at least one a row.
            progress: share of training done, 0 to 1.
            rng: source of the exploration; not advanced when greedy.
            greedy: take the best action, as in evaluation; overrides the warm-up.

        Raises:
            ValueError: when a row has no legal action.
        """
        legal = legal.to("cpu")
        if not bool(legal.any(dim=1).all()):
            raise ValueError("a state without a legal action: halting is legal at the last step")
        if greedy:
            return masked_argmax(self.q_values(states), legal)
        noise = torch.from_numpy(rng.gumbel(size=tuple(legal.shape)))
        if self.in_warmup(progress):
            return masked_argmax(noise, legal)
        values = self.q_values(states).double()
        if self.config.exploration == "boltzmann":  # the Gumbel-max trick samples the softmax
            return masked_argmax(values / self.temperature(progress) + noise, legal)
        explore = torch.from_numpy(rng.random(len(legal))) < self.epsilon(progress)
        return masked_argmax(noise, legal).where(explore, masked_argmax(values, legal))

    def remember(self, batch: Transitions, learner_step: int) -> None:
        """Store transitions made at an update of the learner."""
        self.replay.add(batch, learner_step)

    def learn(
        self, rng: np.random.Generator, learner_step: int, progress: float
    ) -> dict[str, float]:
        """Take ``updates_per_step`` updates of Q from the replay, and move the target network.

        Nothing is learnt from a replay without a young enough transition, nor in a warm-up that
        freezes Q.

        Args:
            rng: source of the draws from the replay.
            learner_step: updates of the learner so far.
            progress: share of training done, 0 to 1.

        Returns:
            ``halting/...`` metrics: td_loss, q_mean and q_max of the last update (absent without
            one); temperature (or epsilon), expansion_penalty, replay_size and num_updates always.
        """
        metrics = self._schedule_metrics(progress)
        frozen = self.in_warmup(progress) and self.config.freeze_representation_during_warmup
        if not frozen and self.replay.num_eligible(learner_step):
            for _ in range(self.config.updates_per_step):
                batch = self.replay.sample(self.config.batch_size, rng, learner_step)
                learnt = self._update(batch)
            metrics |= learnt
        return metrics | {"halting/num_updates": float(self.num_updates)}

    def _schedule_metrics(self, progress: float) -> dict[str, float]:
        if self.config.exploration == "boltzmann":
            exploration = {"halting/temperature": self.temperature(progress)}
        else:
            exploration = {"halting/epsilon": self.epsilon(progress)}
        return exploration | {
            "halting/expansion_penalty": self.expansion_penalty(progress),
            "halting/replay_size": float(len(self.replay)),
        }

    def _update(self, batch: Transitions) -> dict[str, float]:
        with torch.autocast("cpu", enabled=False), torch.enable_grad():
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
        self.num_updates += 1
        self._move_target()
        return {
            "halting/td_loss": loss.item(),
            "halting/q_mean": q.mean().item(),
            "halting/q_max": q.max().item(),
        }

    @torch.no_grad()
    def _move_target(self) -> None:
        online, target = list(self.q.parameters()), list(self.target.parameters())
        if self.config.target_tau is not None:
            for t, o in zip(target, online, strict=True):
                t.lerp_(o, self.config.target_tau)
        elif self.num_updates % (self.config.target_period or 1) == 0:
            for t, o in zip(target, online, strict=True):
                t.copy_(o)

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
