"""The DQN watches a batch go through all supervision steps and stores what it sees.

The model trains at full depth, so what halting would have paid is known after every step, and going
on is always seen as well: both are stored for every example, without exploration. What is drawn is
which examples expand (plan again) and which only continue; the first step always plans.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hybrid_pipeline.config import PrimaryMetric
from hybrid_pipeline.halting.actions import CONTINUE, EXPAND, HALT, legal_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.exploration import Exploration, explore
from hybrid_pipeline.halting.replay import Transitions
from hybrid_pipeline.halting.reward import answer_score, move_costs
from hybrid_pipeline.halting.state import state_features


class Observer:
    """Follows one batch.

    Args:
        agent: whose values choose the expansions.
        draws: of this update, for these rows.
        targets: [B, S].
        scored: [B, S].
        metric: the task's primary metric, which is the reward.
        max_steps: supervision steps at full depth.
    """

    def __init__(
        self,
        agent: DqnAgent,
        draws: Exploration,
        targets: Int[Tensor, "batch slots"],
        scored: Bool[Tensor, "batch slots"],
        *,
        metric: PrimaryMetric,
        max_steps: int,
    ) -> None:
        self.agent, self.draws = agent, draws
        self.targets, self.scored = targets, scored
        self.metric, self.max_steps = metric, max_steps
        self.expansions = torch.zeros_like(targets[:, 0])
        self._states: list[Tensor] = []
        self._scores: list[Tensor] = []
        self._legal: list[Tensor] = []
        self._moves: list[Tensor] = []

    @torch.no_grad()
    def watch(
        self,
        state: Float[Tensor, "batch slots dim"],
        logits: Float[Tensor, "batch slots classes"],
    ) -> Bool[Tensor, " batch"] | None:
        """See the next step's outcome; say which examples expand after it.

        Returns:
            True where the next step plans; ``None`` after the last step, and for an arm that
            cannot expand.
        """
        step = len(self._states) + 1
        features = state_features(state, logits, self.scored, step, self.max_steps, self.expansions)
        self._states.append(features)
        self._scores.append(answer_score(logits.argmax(-1), self.targets, self.scored, self.metric))
        legal = legal_actions(
            torch.full_like(self.expansions, step),
            min_steps=self.agent.config.min_steps,
            max_steps=self.max_steps,
            num_actions=self.agent.num_actions,
        )
        self._legal.append(legal)
        return None if step == self.max_steps else self._choose(features, legal, step)

    def _choose(self, features: Tensor, legal: Tensor, step: int) -> Tensor | None:
        if self.agent.num_actions == 2:
            self._moves.append(torch.full_like(self.expansions, CONTINUE))
            return None
        going = legal.clone()
        going[:, HALT] = False
        moves = explore(
            self.agent.q_values(features),
            going,
            self.draws.noise[step - 1],
            self.draws.inverse_temperature[step - 1],
        )
        self._moves.append(moves)
        expand = moves == EXPAND
        self.expansions = self.expansions + expand
        return expand

    @torch.no_grad()
    def transitions(self) -> Transitions:
        """What was seen, step by step: halting where it is legal, then going on.

        Going on costs a step (and the penalty of an expansion); the move into the last step, where
        halting is forced, ends the episode and is paid the score there.
        """
        parts = []
        for t, moves in enumerate(self._moves):
            state, following, legal = self._states[t], self._states[t + 1], self._legal[t + 1]
            if t + 1 >= self.agent.config.min_steps:
                halt = torch.full_like(moves, HALT)
                parts.append((state, halt, self._scores[t], following, True, legal))
            last = t + 2 == self.max_steps
            reward = -move_costs(
                moves,
                step_cost=self.agent.config.step_cost,
                expansion_penalty=self.draws.expansion_penalty,
            )
            reward = reward + self._scores[t + 1] if last else reward
            parts.append((state, moves, reward, following, last, legal))
        return Transitions.concatenate(
            [
                Transitions(s, a, r, n, torch.full_like(a, done, dtype=torch.bool), legal)
                for s, a, r, n, done, legal in parts
            ]
        )


def num_transitions(batch: int, *, min_steps: int, max_steps: int) -> int:
    """How many transitions a batch gives: the same for every update of a run."""
    return batch * (max_steps - 1 + max(0, max_steps - min_steps))
