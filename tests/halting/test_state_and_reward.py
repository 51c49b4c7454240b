"""States, rewards, legal actions and schedules, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from hybrid_pipeline.halting import (
    ACTION_NAMES,
    CONTINUE,
    EXPAND,
    anneal,
    answer_score,
    legal_actions,
    move_costs,
    num_actions,
    progress_after,
    slot_accuracy,
    state_dim,
    state_features,
)


def test_state_by_hand():
    y = tensor([[[1.0, 0.0], [3.0, 0.0], [50.0, 50.0]]])
    p = tensor([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    scored = tensor([[True, True, False]])  # the third slot is given
    state = state_features(y, p.log(), scored, step=2, max_steps=4, expansions=tensor([1]))
    half = math.log(2) / math.log(3)  # entropy of a fair coin, in units of log 3
    by_hand = [2, 0, 1, 0, half / 2, half, 0.75, 0.5, 0.5, 0.5, 0.25]
    assert_close(state, tensor([by_hand]).float())
    assert state.shape[1] == state_dim(2)


def test_state_is_detached_fp32_and_finite_without_scored_slots():
    y = torch.randn(3, 5, 8, dtype=torch.bfloat16, requires_grad=True)
    logits = torch.randn(3, 5, 2, requires_grad=True)
    scored = torch.zeros(3, 5, dtype=torch.bool)
    state = state_features(y, logits, scored, tensor([1, 2, 3]), 3)
    assert not state.requires_grad
    assert state.dtype == torch.float32
    assert state.isfinite().all()
    assert_close(state[:, -2], tensor([1 / 3, 2 / 3, 1.0]))


def test_state_does_not_depend_on_given_slots():
    g = torch.Generator().manual_seed(0)
    y, logits = torch.randn(4, 6, 8, generator=g), torch.randn(4, 6, 3, generator=g)
    scored = torch.arange(6).expand(4, 6) < 4
    changed = scored[..., None]
    other = state_features(y.where(changed, 7.0), logits.where(changed, -3.0), scored, 1, 2)
    assert_close(other, state_features(y, logits, scored, 1, 2))


def test_slot_accuracy_counts_scored_slots_alone():
    predicted = tensor([[1, 2, 3], [1, 1, 1], [0, 0, 0]])
    targets = tensor([[1, 2, 0], [1, 0, 1], [0, 0, 0]])
    scored = tensor([[True, True, False], [True, True, True], [False, False, False]])
    assert_close(slot_accuracy(predicted, targets, scored), tensor([1.0, 2 / 3, 0.0]))


def test_the_reward_is_the_primary_metric():
    predicted = tensor([[1, 2, 3], [1, 1, 1], [1, 2, 3]])
    targets = tensor([[1, 2, 0], [1, 0, 1], [1, 2, 3]])
    scored = tensor([[True, True, False], [True, True, True], [True, True, True]])
    given = (predicted, targets, scored)
    assert_close(answer_score(*given, "correct"), tensor([1.0, 0.0, 1.0]))
    assert_close(answer_score(*given, "slots"), tensor([1.0, 2 / 3, 1.0]))


def test_going_on_costs_a_step_and_expanding_its_penalty_too():
    costs = move_costs(tensor([EXPAND, CONTINUE]), step_cost=0.01, expansion_penalty=tensor(0.05))
    assert_close(costs, tensor([0.06, 0.01]))


@pytest.mark.parametrize("min_steps", [1, 2, 3, 9])
def test_some_action_is_always_legal(min_steps):
    for step in (1, 2, 3):
        legal = legal_actions(step, min_steps=min_steps, max_steps=3, num_actions=3, batch_size=2)
        assert bool(legal.any(dim=1).all())


def test_legal_actions():
    def legal(step, **changes):
        options = {"min_steps": 1, "max_steps": 3, "num_actions": 3, "batch_size": 1} | changes
        return [
            n for n, ok in zip(ACTION_NAMES, legal_actions(step, **options)[0], strict=False) if ok
        ]

    assert legal(1) == ["halt", "continue", "expand"]
    assert legal(1, num_actions=2) == ["halt", "continue"]
    assert legal(1, min_steps=2) == ["continue", "expand"]  # the first continue is mandatory
    assert legal(2, min_steps=2) == ["halt", "continue", "expand"]
    assert legal(3) == ["halt"]  # the bound forces it
    assert legal(3, min_steps=9) == ["halt"]


def test_legal_actions_of_examples_at_different_steps():
    together = legal_actions(tensor([1, 3]), min_steps=2, max_steps=3, num_actions=2)
    assert together.tolist() == [[False, True], [True, False]]
    with pytest.raises(ValueError, match="batch_size"):
        legal_actions(1, min_steps=1, max_steps=3, num_actions=2)


def test_only_a_planning_arm_can_expand():
    assert [ACTION_NAMES[: num_actions(can_expand=e)][-1] for e in (False, True)] == [
        "continue",
        "expand",
    ]


@pytest.mark.parametrize(
    ("progress", "value"), [(-1.0, 1.0), (0.0, 1.0), (0.25, 0.775), (1.0, 0.1), (2.0, 0.1)]
)
def test_anneal(progress, value):
    assert anneal(1.0, 0.1, progress) == pytest.approx(value)


@pytest.mark.parametrize(
    ("ratio", "progress", "after"),
    [
        (0.2, 0.1, 0),
        (0.2, 0.2, 0),
        (0.2, 0.6, 0.5),
        (0.2, 1.0, 1),
        (0.2, 1.1, 1),
        (0.0, 0.3, 0.3),
        (1.0, 2.0, 0),
    ],
)
def test_progress_after_the_warm_up(ratio, progress, after):
    assert progress_after(ratio, progress) == pytest.approx(after)
