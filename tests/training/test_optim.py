"""Schedule, decay groups and moving average by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hybrid_pipeline.training.optim import (
    build_ema,
    build_optimizer,
    learning_rate,
    total_steps,
    warmup_steps,
)
from toy_study import TRAINING, changed, named, toy_model


def test_steps_of_the_t4_profile():
    config = changed(TRAINING, epochs=50, global_batch_size=192)
    assert total_steps(config, 100_000) == 520 * 50
    assert total_steps(changed(config, epochs=0.5), 100_000) == 260
    assert total_steps(config, 100) == 50  # an epoch smaller than a batch is one update


def test_warm_up_by_steps_or_by_ratio():
    by_steps = changed(TRAINING, lr_warmup_ratio=None, lr_warmup_steps=3000)
    assert warmup_steps(by_steps, 26_000) == 3000
    assert warmup_steps(changed(TRAINING, lr_warmup_ratio=0.1), 250) == 25


def schedule(kind: str, **values) -> list[float]:
    options = {"lr": 0.1, "lr_min_ratio": 0.2, "lr_warmup_ratio": None, "lr_warmup_steps": 4}
    config = changed(TRAINING, **{**options, "lr_scheduler": kind, **values})
    return [learning_rate(step, 14, config) for step in range(15)]


def test_warm_up_is_linear_and_reaches_lr():
    for kind in ("cosine", "linear", "constant"):
        assert schedule(kind)[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert schedule("cosine", lr_warmup_steps=0)[0] == 0.1


def test_cosine_linear_and_constant_by_hand():
    middle, end = 4 + 5, 14
    assert schedule("cosine")[middle] == pytest.approx(0.1 * (0.2 + 0.8 * 0.5))
    assert schedule("cosine")[4 + 2] == pytest.approx(
        0.1 * (0.2 + 0.4 * (1 + math.cos(math.pi / 5)))
    )
    assert schedule("cosine")[end] == pytest.approx(0.02)
    assert schedule("linear")[middle] == pytest.approx(0.1 * (0.2 + 0.8 * 0.5))
    assert schedule("linear")[4 + 1] == pytest.approx(0.1 * (0.2 + 0.8 * 0.9))
    assert schedule("linear")[end] == pytest.approx(0.02)
    assert set(schedule("constant")[4:]) == {0.1}


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_rate_falls_after_the_warm_up(kind):
    rates = schedule(kind)[4:]
    assert rates == sorted(rates, reverse=True)


def test_cosine_equals_torchs():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.02)
    theirs = []
    for _ in range(11):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert schedule("cosine")[4:] == pytest.approx(theirs)


def test_matrices_decay_and_vectors_do_not():
    model = toy_model(named("arm_3_n2n"))
    config = changed(TRAINING, optimizer="adamw", beta2=0.98, weight_decay=0.1)
    decayed, kept = build_optimizer(model, config).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert decayed["betas"] == (0.9, 0.98)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in kept["params"])
    held = {id(p) for group in (decayed, kept) for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    assert not held & {id(p) for p in model.encoder.adapters["n2n"].parameters()}


def average_of(weights: list[float], rate: float) -> float:
    model = nn.Linear(1, 1, bias=False)
    ema = build_ema(model, changed(TRAINING, ema_rate=rate))
    for weight in weights:
        with torch.no_grad():
            model.weight.fill_(weight)
        ema.update(torch.tensor(True))
    return ema.module.weight.item()


def test_moving_average_by_hand():
    # The first update copies; update t then decays by min(rate, (1 + t) / (10 + t)).
    first = 1.0
    second = first * 2 / 11 + 5.0 * 9 / 11
    third = second * 3 / 12 + 7.0 * 9 / 12
    assert average_of([1.0], 0.999) == pytest.approx(first)
    assert average_of([1.0, 5.0], 0.999) == pytest.approx(second)
    assert average_of([1.0, 5.0, 7.0], 0.999) == pytest.approx(third)
    assert average_of([1.0, 5.0], 0.1) == pytest.approx(0.1 * 1 + 0.9 * 5)


def test_a_long_average_decays_by_the_rate():
    steps = 200  # (1 + t) / (10 + t) passes 0.9 at t = 80
    exact = 0.0
    for t in range(1, steps + 1):
        decay = min(0.9, (1 + t) / (10 + t))
        exact = decay * exact + (1 - decay) * t
    assert average_of([float(t) for t in range(steps + 1)], 0.9) == pytest.approx(exact, rel=1e-4)


def test_no_average_where_it_is_off():
    assert build_ema(nn.Linear(1, 1), changed(TRAINING, ema=False)) is None
