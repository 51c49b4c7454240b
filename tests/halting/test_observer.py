"""What the DQN stores of one batch at full depth, followed by hand with scripted expansions."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.halting import (
    CONTINUE,
    EXPAND,
    HALT,
    DqnAgent,
    Exploration,
    Observer,
    num_transitions,
    state_dim,
)
from hybrid_pipeline.models.q_head import QHead

COST, PENALTY, DIM, SLOTS, CLASSES = 0.01, 0.25, 4, 2, 3


def agent_of(num_actions: int, **changes) -> DqnAgent:
    config = HaltingConfig(step_cost=COST, **changes)
    return DqnAgent(config, state_dim(DIM), num_actions, 0, QHead)


def follow(num_actions, expands, *, metric="correct", max_steps=3, **changes):
    """Three examples: right at step 2, never right, always right in slot 0 and from 3 on in both.

    ``expands`` [decisions][example] are forced by the noise.
    """
    agent = agent_of(num_actions, **changes)
    targets = tensor([[1, 2], [0, 0], [2, 1]])
    answers = [
        tensor([[0, 2], [1, 1], [2, 0]]),
        tensor([[1, 2], [1, 0], [2, 2]]),
        tensor([[1, 0], [2, 2], [2, 1]]),
    ]
    noise = torch.zeros(max_steps - 1, 3, num_actions)
    if num_actions == 3:
        for t, row in enumerate(expands):
            noise[t, :, EXPAND] = tensor(row).float() * 2 - 1
    draws = Exploration(noise, torch.zeros(max_steps - 1, 3), tensor(PENALTY))
    observer = Observer(
        agent, draws, targets, torch.ones(3, SLOTS, dtype=torch.bool),
        metric=metric, max_steps=max_steps,
    )  # fmt: skip
    generator, masks, states = torch.Generator().manual_seed(0), [], []
    for answer in answers[:max_steps]:
        logits = torch.nn.functional.one_hot(answer, CLASSES).float() * 3
        state = torch.randn(3, SLOTS, DIM, generator=generator, requires_grad=True)
        masks.append(observer.watch(state, logits))
        states.append(observer._states[-1])
    return observer.transitions(), masks, states


def rows(seen):
    return [
        (int(a), round(float(r), 6), bool(d))
        for a, r, d in zip(seen.actions, seen.rewards, seen.done, strict=True)
    ]


def test_halt_and_go_on_are_both_stored_for_every_example():
    seen, masks, states = follow(3, [[0, 1, 0], [1, 0, 0]])
    assert [m.tolist() for m in masks[:2]] == [[False, True, False], [True, False, False]]
    assert masks[2] is None
    c, e = -COST, -COST - PENALTY
    assert rows(seen) == [
        (HALT, 0, True), (HALT, 0, True), (HALT, 0, True),
        (CONTINUE, c, False), (EXPAND, pytest.approx(e), False), (CONTINUE, c, False),
        (HALT, 1, True), (HALT, 0, True), (HALT, 0, True),
        (EXPAND, pytest.approx(e), True), (CONTINUE, c, True),
        (CONTINUE, pytest.approx(c + 1), True),
    ]  # fmt: skip
    assert len(seen) == num_transitions(3, min_steps=1, max_steps=3)
    assert torch.equal(seen.states, torch.cat([states[0], states[0], states[1], states[1]]))
    assert torch.equal(seen.next_states[3:6], states[1])
    assert torch.equal(seen.next_states[9:], states[2])
    assert not any(column.requires_grad for column in seen.columns().values())


def test_the_reward_is_the_share_of_slots_where_that_is_the_metric():
    seen, *_ = follow(3, [[0, 0, 0], [0, 0, 0]], metric="slots")
    halts = [r for a, r, _ in rows(seen) if a == HALT]
    assert halts == [0.5, 0.0, 0.5, 1.0, 0.5, 0.5]
    assert [r for _, r, _ in rows(seen)[-3:]] == [0.49, -0.01, 0.99]


def test_expansions_are_counted_in_the_state():
    _, _, states = follow(3, [[0, 1, 0], [1, 1, 0]])
    assert [s[:, -1].tolist() for s in states] == [
        [0.0, 0.0, 0.0],
        pytest.approx([0.0, 1 / 3, 0.0]),
        pytest.approx([1 / 3, 2 / 3, 0.0]),
    ]


def test_an_arm_that_cannot_expand_goes_on_without_a_mask():
    seen, masks, _ = follow(2, None)
    assert masks == [None, None, None]
    assert {a for a, *_ in rows(seen)} == {HALT, CONTINUE}


@pytest.mark.parametrize(("min_steps", "halts"), [(1, 6), (2, 3), (3, 0), (9, 0)])
def test_halting_is_not_stored_before_it_is_legal(min_steps, halts):
    seen, *_ = follow(3, [[0, 0, 0], [0, 0, 0]], min_steps=min_steps)
    assert sum(a == HALT for a, *_ in rows(seen)) == halts
    assert len(seen) == num_transitions(3, min_steps=min_steps, max_steps=3)
    legal = seen.next_legal[seen.done.logical_not()]
    assert bool(legal[:, HALT].any()) == (min_steps <= 2)


def test_values_choose_the_expansions_and_never_a_halt():
    agent = agent_of(3)
    with torch.no_grad():
        agent.q.layers[-1].bias.copy_(tensor([9.0, 0.0, 1.0]))
    draws = Exploration(torch.zeros(1, 3, 3), torch.ones(1, 3), tensor(PENALTY))
    targets = torch.zeros(3, SLOTS, dtype=torch.int64)
    observer = Observer(
        agent, draws, targets, torch.ones(3, SLOTS, dtype=torch.bool), metric="slots", max_steps=2
    )
    mask = observer.watch(torch.zeros(3, SLOTS, DIM), torch.zeros(3, SLOTS, CLASSES))
    assert mask.tolist() == [True] * 3
