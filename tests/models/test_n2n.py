"""The adapter against theory: Gaussian features have a known conditional mean (Wiener)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hybrid_pipeline.config import N2NConfig
from hybrid_pipeline.models.n2n import (
    AdapterHistory,
    MlpAdapter,
    NoiseAdapter,
    fit_adapter,
    n2n_loss,
    num_parameters,
    view_errors,
)
from hybrid_pipeline.seeding import rng_for

DIM, TOKENS = 16, 4
SIGNAL_VARIANCE, NOISE_VARIANCE = 1.0, 0.5
# Independent Gaussian signal and noise: E[fB | fA] = k fA with k = Vs / (Vs + Vn), and the least
# possible loss per element is the variance left, Vs + Vn - k Vs.
SHRINKAGE = SIGNAL_VARIANCE / (SIGNAL_VARIANCE + NOISE_VARIANCE)
LEAST_LOSS = SIGNAL_VARIANCE + NOISE_VARIANCE - SHRINKAGE * SIGNAL_VARIANCE
IDENTITY_LOSS = 2 * NOISE_VARIANCE
CONFIG = N2NConfig(steps=400, batch_size=64, lr=3e-3)


def views(step: int, n: int = 64) -> tuple[Tensor, Tensor]:
    rng = rng_for("test_views", 0, step)
    signal = rng.normal(scale=SIGNAL_VARIANCE**0.5, size=(n, TOKENS, DIM))
    noise = rng.normal(scale=NOISE_VARIANCE**0.5, size=(2, n, TOKENS, DIM))
    a, b = torch.from_numpy((signal + noise).astype(np.float32))
    return a, b


@pytest.fixture(scope="module")
def fitted() -> tuple[NoiseAdapter, AdapterHistory]:
    adapter = NoiseAdapter(CONFIG, DIM)
    return adapter, fit_adapter(adapter, views, CONFIG, seed=0)


def test_loss_by_hand():
    double = torch.nn.Linear(2, 2, bias=False)
    double.weight.data = 2 * torch.eye(2)
    a, b = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 3.0]]])
    # |2a - b|^2 = 4 + 9, |2b - a|^2 = 1 + 36; half the sum, over 2 elements
    assert_close(n2n_loss(double, a, b), torch.tensor(0.5 * (13 + 37) / 2))


def test_targets_carry_no_gradient():
    a = torch.randn(2, TOKENS, DIM, requires_grad=True)
    adapter = NoiseAdapter(CONFIG, DIM)
    n2n_loss(adapter, a, torch.randn(2, TOKENS, DIM)).backward()
    assert a.grad is None
    assert adapter.correction.weight.grad is not None


@pytest.mark.parametrize("kind", [NoiseAdapter, MlpAdapter])
def test_adapters_start_as_the_identity_and_train_every_part(kind):
    adapter, tokens = kind(CONFIG, DIM), torch.randn(2, TOKENS, DIM)
    assert_close(adapter(tokens), tokens, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    adapter(tokens).square().sum().backward()
    assert [n for n, p in adapter.named_parameters() if p.grad is None] == []
    dead = [n for n, p in adapter.named_parameters() if not p.grad.abs().max() > 0]
    assert dead == []


def test_loss_falls_below_identity_to_the_wiener_optimum(fitted):
    adapter, history = fitted
    errors = view_errors(adapter, *views(10_000, 512))  # held out
    assert history.loss[0] == pytest.approx(history.identity[0])
    assert errors["n2n/heldout_identity_loss"] == pytest.approx(IDENTITY_LOSS, rel=0.03)
    assert LEAST_LOSS * 0.97 < errors["n2n/heldout_loss"] < LEAST_LOSS * 1.04
    assert LEAST_LOSS * 1.04 < IDENTITY_LOSS  # so the line above says something


def test_output_is_the_conditional_mean_and_does_not_collapse(fitted):
    adapter, _ = fitted
    a, b = views(10_001, 512)
    with torch.no_grad():
        out = adapter(a)
    slope = float((out * a).sum() / a.square().sum())
    assert slope == pytest.approx(SHRINKAGE, abs=0.03)
    errors = view_errors(adapter, a, b)
    shrunk = SHRINKAGE * (SIGNAL_VARIANCE + NOISE_VARIANCE) ** 0.5
    assert errors["n2n/output_std"] == pytest.approx(shrunk, rel=0.05)
    assert errors["n2n/output_std"] > 0.5  # a collapse would be 0


def test_noise_shared_by_both_views_stays():
    """What both views share cannot be told from signal: without other noise the identity stays."""
    config = CONFIG.model_copy(update={"steps": 20})
    adapter = NoiseAdapter(config, DIM)

    def shared(step: int) -> tuple[Tensor, Tensor]:
        noisy, _ = views(step)
        return noisy, noisy

    history = fit_adapter(adapter, shared, config, seed=0)
    noisy, _ = views(10_002)
    assert history.identity == [0.0] * 20
    assert np.isnan(history.metrics()["n2n/loss_over_identity"])
    with torch.no_grad():
        assert_close(adapter(noisy), noisy)


def test_fit_depends_on_seed_and_batches_alone():
    config = CONFIG.model_copy(update={"steps": 12})

    def fit(seed: int, caller_seed: int) -> tuple[AdapterHistory, Tensor]:
        torch.manual_seed(caller_seed)
        adapter = NoiseAdapter(config, DIM)
        state = torch.get_rng_state()
        history = fit_adapter(adapter, views, config, seed)
        assert torch.equal(state, torch.get_rng_state())
        return history, adapter(views(99)[0])

    (first, out), (again, out_again) = fit(3, 0), fit(3, 1)
    assert first == again
    assert torch.equal(out, out_again)
    assert fit(4, 0)[0].loss != first.loss
    assert first.metrics()["n2n/loss"] == first.loss[-1]  # the last tenth of 12 is 1
    assert len(first.loss) == len(first.identity) == 12


def test_half_precision_features_are_fitted_in_fp32():
    config = CONFIG.model_copy(update={"steps": 2})
    adapter = NoiseAdapter(config, DIM)
    history = fit_adapter(adapter, lambda s: tuple(v.half() for v in views(s)), config, seed=0)
    assert np.isfinite(history.loss).all()
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("dim", "config"),
    [
        (96, N2NConfig()),
        (96, N2NConfig(depth=3, mlp_ratio=4)),
        (768, N2NConfig(depth=1, num_heads=12)),
    ],
)
def test_mlp_control_has_the_adapters_parameters(dim, config):
    adapter, control = (
        num_parameters(NoiseAdapter(config, dim)),
        num_parameters(MlpAdapter(config, dim)),
    )
    assert (
        abs(adapter - control) <= (2 * dim + 1) / 2
    )  # half of one hidden unit: no width is nearer
    assert abs(adapter - control) / adapter < 0.002


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="num_heads 4 does not divide 30"):
        NoiseAdapter(N2NConfig(), 30)
