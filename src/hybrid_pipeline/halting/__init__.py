"""Halting by double DQN: states, actions, rewards, replay, schedules, agent and policies."""

from hybrid_pipeline.halting.actions import (
    ACTION_NAMES,
    CONTINUE,
    EXPAND,
    HALT,
    legal_actions,
    num_actions,
)
from hybrid_pipeline.halting.dqn import DqnAgent, masked_argmax, td_target
from hybrid_pipeline.halting.policies import (
    PolicyResult,
    best_fixed_depth,
    compare_policies,
    fixed_depths,
    greedy_depths,
    oracle_depths,
    policy_result,
    random_depths,
)
from hybrid_pipeline.halting.replay import ReplayBuffer, Transitions
from hybrid_pipeline.halting.reward import action_rewards, slot_accuracy
from hybrid_pipeline.halting.schedules import anneal, progress_after
from hybrid_pipeline.halting.state import state_dim, state_features

__all__ = [
    "ACTION_NAMES",
    "CONTINUE",
    "EXPAND",
    "HALT",
    "DqnAgent",
    "PolicyResult",
    "ReplayBuffer",
    "Transitions",
    "action_rewards",
    "anneal",
    "best_fixed_depth",
    "compare_policies",
    "fixed_depths",
    "greedy_depths",
    "legal_actions",
    "masked_argmax",
    "num_actions",
    "oracle_depths",
    "policy_result",
    "progress_after",
    "random_depths",
    "slot_accuracy",
    "state_dim",
    "state_features",
    "td_target",
]
