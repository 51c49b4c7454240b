"""Replay: order, overwriting, recent share, age limit and restoration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from hybrid_pipeline.halting import ReplayBuffer, Transitions


def make_buffer(capacity: int = 10, fraction: float = 0.5, recent: int = 2, age: int = 100):
    return ReplayBuffer(
        capacity, 3, 2, recent_fraction=fraction, recent_size=recent, max_age_steps=age
    )


def numbered(first: int, n: int) -> Transitions:
    """Transitions whose every field tells their number."""
    number = torch.arange(first, first + n)
    return Transitions(
        states=number[:, None].expand(n, 3).float(),
        actions=number,
        rewards=number.float(),
        next_states=-number[:, None].expand(n, 3).float(),
        done=number % 2 == 0,
        next_legal=torch.stack([number % 2 == 0, number % 3 == 0], dim=1),
    )


def drawn(buffer: ReplayBuffer, step: int, n: int = 4_000) -> np.ndarray:
    return buffer.sample(n, np.random.default_rng(0), step).actions.numpy()


def test_fields_stay_together():
    buffer = make_buffer()
    buffer.add(numbered(0, 7), 0)
    buffer.add(numbered(7, 6), 1)  # wraps
    batch = buffer.sample(50, np.random.default_rng(0), 1)
    number = batch.actions
    assert_close(
        batch.columns(),
        {
            "states": number[:, None].expand(50, 3).float(),
            "actions": number,
            "rewards": number.float(),
            "next_states": -number[:, None].expand(50, 3).float(),
            "done": number % 2 == 0,
            "next_legal": torch.stack([number % 2 == 0, number % 3 == 0], dim=1),
        },
    )


@pytest.mark.parametrize("batches", [[3], [10], [4, 4, 4], [25], [7, 25, 2]])
def test_the_oldest_are_overwritten(batches):
    buffer, added = make_buffer(), 0
    for step, n in enumerate(batches):
        buffer.add(numbered(added, n), step)
        added += n
    assert len(buffer) == min(added, 10)
    assert set(drawn(buffer, len(batches))) == set(range(max(0, added - 10), added))


def test_the_recent_fraction_comes_from_the_newest():
    buffer = make_buffer(fraction=0.25, recent=2)
    buffer.add(numbered(0, 13), 0)
    n = 4_000
    newest = int((drawn(buffer, 0, n) >= 11).sum())
    # a quarter from the 2 newest alone, the rest uniform over the 10 stored
    expected_rest = 0.2
    assert stats.binomtest(newest - n // 4, n - n // 4, expected_rest).pvalue > 0.01


def test_no_draw_is_older_than_the_limit():
    buffer = make_buffer(age=5)
    for step in range(0, 14, 2):  # 14 transitions, 10 kept, born at 4, 6, 8, 10, 12
        buffer.add(numbered(step, 2), step)
    assert buffer.num_eligible(12) == 6
    assert set(drawn(buffer, 12)) == {8, 9, 10, 11, 12, 13}
    assert set(drawn(buffer, 17)) == {12, 13}
    assert buffer.num_eligible(18) == 0
    with pytest.raises(ValueError, match="younger than 5"):
        drawn(buffer, 18)


def test_learner_steps_must_not_fall():
    buffer = make_buffer()
    buffer.add(numbered(0, 3), 5)
    with pytest.raises(ValueError, match="must not fall"):
        buffer.add(numbered(3, 3), 4)


@pytest.mark.parametrize("added", [4, 10, 17])
def test_restored_buffer_goes_on_alike(added):
    first, second = make_buffer(), make_buffer()
    first.add(numbered(0, added), 0)
    state = first.state_dict()
    second.load_state_dict(state)
    assert_close(second.state_dict(), state, rtol=0, atol=0)
    for buffer in (first, second):
        buffer.add(numbered(added, 3), 2)
    assert (drawn(first, 2) == drawn(second, 2)).all()
    assert len(state["born"]) == min(added, 10)  # a copy: adding left it alone


def test_a_buffer_of_another_size_is_refused():
    buffer = make_buffer(capacity=10)
    buffer.add(numbered(0, 10), 0)
    with pytest.raises(ValueError, match="does not fit a capacity of 8"):
        make_buffer(capacity=8).load_state_dict(buffer.state_dict())
