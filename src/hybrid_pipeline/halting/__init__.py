"""Halting by double DQN: states, actions, rewards, exploration, replay, agent and observer."""

from hybrid_pipeline.halting.actions import (
    ACTION_NAMES,
    CONTINUE,
    EXPAND,
    HALT,
    legal_actions,
    num_actions,
)
from hybrid_pipeline.halting.dqn import DqnAgent, DqnInputs, td_target
from hybrid_pipeline.halting.exploration import (
    Exploration,
    ExplorationSchedule,
    explore,
    masked_argmax,
)
from hybrid_pipeline.halting.observer import Observer, num_transitions
from hybrid_pipeline.halting.replay import ReplayBuffer, Transitions
from hybrid_pipeline.halting.reward import answer_score, move_costs, slot_accuracy
from hybrid_pipeline.halting.schedules import anneal, progress_after
from hybrid_pipeline.halting.state import state_dim, state_features

__all__ = [
    "ACTION_NAMES",
    "CONTINUE",
    "EXPAND",
    "HALT",
    "DqnAgent",
    "DqnInputs",
    "Exploration",
    "ExplorationSchedule",
    "Observer",
    "ReplayBuffer",
    "Transitions",
    "anneal",
    "answer_score",
    "explore",
    "legal_actions",
    "masked_argmax",
    "move_costs",
    "num_actions",
    "num_transitions",
    "progress_after",
    "slot_accuracy",
    "state_dim",
    "state_features",
    "td_target",
]
