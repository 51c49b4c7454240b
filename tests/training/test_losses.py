"""Losses by hand, against torch and at their limits (stablemax goldens: models/test_trm.py)."""

import math

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from hybrid_pipeline.training.losses import (
    LOG_PROBABILITIES,
    example_losses,
    log_stablemax,
    slot_losses,
)

BOTH = sorted(LOG_PROBABILITIES)


def test_stablemax_by_hand():
    # s(3) = 4, s(0) = 1, s(-1) = 1/2, s(-3) = 1/4: the sum is 23/4.
    p = log_stablemax(torch.tensor([3.0, 0.0, -1.0, -3.0])).exp()
    assert_close(p, torch.tensor([16 / 23, 4 / 23, 2 / 23, 1 / 23], dtype=torch.float64))


def test_stablemax_gradient_by_hand_and_at_its_poles():
    x = torch.tensor([1.0, -1.0], requires_grad=True)  # 1 / (1 - x) has its pole at x = 1
    log_stablemax(x)[0].backward()
    # log p0 = log s0 - log(s0 + s1), s0 = 2 with slope 1, s1 = 1/2 with slope 1 / (1 - x)^2 = 1/4
    assert_close(x.grad, torch.tensor([1 / 2 - 1 / 2.5, -0.25 / 2.5]))


def test_stablemax_gradient_numerically():
    x = torch.tensor([[0.7, -0.4, 2.0], [-3.0, 0.2, -0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_stablemax, x)


def test_cross_entropy_equals_torch():
    logits, targets = torch.randn(4, 6, 5), torch.randint(5, (4, 6))
    scored = torch.rand(4, 6) < 0.6
    expected = functional.cross_entropy(
        logits.transpose(1, 2), targets.masked_fill(~scored, -100), reduction="none"
    )
    assert_close(slot_losses(logits, targets, scored), expected)


@pytest.mark.parametrize("loss", BOTH)
def test_equal_logits_cost_log_of_the_number_of_classes(loss):
    logits, targets = torch.zeros(2, 3, 7), torch.zeros(2, 3, dtype=torch.long)
    scored = torch.ones(2, 3, dtype=torch.bool)
    assert example_losses(logits, targets, scored, loss).tolist() == pytest.approx(
        [math.log(7)] * 2
    )


@pytest.mark.parametrize("loss", BOTH)
def test_slots_that_are_not_scored_count_for_nothing(loss):
    logits = torch.randn(2, 3, 4, requires_grad=True)
    targets = torch.tensor([[1, -100, 2], [0, 3, 99]])
    scored = torch.tensor([[True, False, True], [True, True, False]])
    example_losses(logits, targets, scored, loss).mean().backward()
    assert logits.grad is not None
    assert logits.grad[~scored].eq(0).all()
    assert logits.grad[scored].abs().sum(-1).gt(0).all()


@pytest.mark.parametrize("loss", BOTH)
def test_every_example_weighs_the_same(loss):
    logits, targets = torch.randn(2, 3, 4), torch.randint(4, (2, 3))
    scored = torch.tensor([[True, True, True], [False, True, False]])
    slots = slot_losses(logits, targets, scored, loss)
    each = torch.stack([slots[0].mean(), slots[1, 1]])
    assert_close(example_losses(logits, targets, scored, loss), each)


@pytest.mark.parametrize("loss", BOTH)
def test_an_example_without_scored_slots_costs_nothing(loss):
    logits = torch.randn(1, 2, 3, requires_grad=True)
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    total = example_losses(logits, torch.zeros(1, 2, dtype=torch.long), nothing, loss).mean()
    total.backward()
    assert total == 0
    assert logits.grad.eq(0).all()


def test_half_precision_is_widened():
    logits = torch.tensor([[[8.0, 0.0]]], dtype=torch.float16)
    scored, targets = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.long)
    loss = slot_losses(logits, targets, scored)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-4)


def test_an_unknown_loss_is_named():
    args = torch.zeros(1, 1, 2), torch.zeros(1, 1).long(), torch.ones(1, 1).bool()
    with pytest.raises(ValueError, match="unknown loss 'hinge'; expected one of cross_entropy"):
        slot_losses(*args, "hinge")
