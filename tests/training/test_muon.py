"""Muon against the singular value decomposition, PyTorch's own and its definition by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import _muon
from torch.testing import assert_close

from hybrid_pipeline.training.muon import Muon, orthogonalised
from hybrid_pipeline.training.optim import build_optimizer
from toy_study import TRAINING, named, toy_model


def matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 8, 20), (3, 20, 8), (1, 12, 12)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    given = matrices(*shape)
    u, s, v = torch.linalg.svd(given, full_matrices=False)
    seen = u.mT @ orthogonalised(given) @ v.mT  # diagonal in the singular vectors of what was given
    values = torch.diagonal(seen, dim1=-2, dim2=-1)
    assert_close(seen, torch.diag_embed(values), rtol=0, atol=1e-12)
    large = s > 0.1 * s.amax(dim=-1, keepdim=True)
    assert bool(((values > 0.65) & (values < 1.25))[large].all())


def test_zero_stays_zero_and_size_does_not_matter():
    assert not orthogonalised(torch.zeros(1, 4, 6)).any()
    given = matrices(2, 4, 6)
    assert_close(orthogonalised(given), orthogonalised(1e3 * given), rtol=1e-12, atol=0)


def test_every_matrix_of_a_stack_and_a_transposed_one_are_as_by_themselves():
    given = matrices(3, 5, 9)
    for one, whole in zip(given, orthogonalised(given), strict=True):
        assert_close(orthogonalised(one[None])[0], whole, rtol=1e-12, atol=1e-14)
        assert_close(orthogonalised(one.mT[None])[0].mT, whole, rtol=1e-12, atol=1e-14)


def test_iterations_against_pytorchs_in_bfloat16():
    given = matrices(1, 16, 48).float()
    theirs = _muon._zeropower_via_newtonschulz(given[0], (3.4445, -4.7750, 2.0315), 5, 1e-7)
    assert_close(orthogonalised(given)[0], theirs.float(), rtol=0, atol=0.03)


def test_updates_against_pytorchs(monkeypatch):
    """Theirs iterates in bfloat16; with the same iterations the updates are the same."""
    monkeypatch.setattr(
        _muon, "_zeropower_via_newtonschulz", lambda grad, *_: orthogonalised(grad[None])[0]
    )
    start = [matrices(6, 4), matrices(6, 4, seed=1), matrices(4, 10, seed=2)]
    ours, theirs = ([nn.Parameter(p.clone()) for p in start] for _ in range(2))
    # Theirs decays by its own rate, which is the ratio times ours.
    muon = Muon(ours, lr=torch.tensor(0.01), ratio=3.0, momentum=0.9, weight_decay=0.3)
    reference = torch.optim.Muon(
        theirs, lr=0.03, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            a.grad = matrices(*a.shape, seed=10 * step + index)
            b.grad = a.grad.clone()
        muon.step()
        reference.step()
    for a, b, first in zip(ours, theirs, start, strict=True):
        assert_close(a, b, rtol=1e-6, atol=1e-7)  # our rate is a float32 tensor
        assert (a - first).abs().max() > 0.01


def test_an_update_that_is_skipped_changes_nothing():
    weight = nn.Parameter(matrices(3, 4))
    muon = Muon([weight], lr=torch.tensor(0.1), ratio=1.0, momentum=0.9, weight_decay=0.1)
    weight.grad = matrices(3, 4, seed=1)
    muon.step()
    before = weight.detach().clone(), muon.state[weight]["momentum_buffer"].clone()
    weight.grad = torch.full_like(weight, float("nan"))
    muon.found_inf = torch.tensor(1.0)
    muon.step()
    assert_close((weight.detach(), muon.state[weight]["momentum_buffer"]), before, rtol=0, atol=0)
    weight.grad = matrices(3, 4, seed=2)
    muon.found_inf = torch.tensor(0.0)
    muon.step()
    assert not torch.equal(weight, before[0])


def test_it_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match="matrices, not a parameter of shape"):
        Muon(
            [nn.Parameter(torch.zeros(3))],
            lr=torch.tensor(0.1),
            ratio=1.0,
            momentum=0.9,
            weight_decay=0.0,
        )


def test_hidden_matrices_go_to_muon_and_all_else_to_adamw():
    model = toy_model(named("arm_5_coconut"))
    *adamw, muon = build_optimizer(model, TRAINING).param_groups
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    matrices = {names.pop(id(p)) for p in muon["params"]}
    assert {names.pop(id(p)) for group in adamw for p in group["params"]}
    assert not names
    assert all(name.endswith("weight") for name in matrices)
    assert "stepper.core.blocks.0.attention.qkv.weight" in matrices
    assert "encoder.reader.merge.weight" in matrices
    assert not {name for name in matrices if "head" in name or "stem" in name or "norm" in name}
    assert "encoder.fusion.gate.2.weight" not in matrices  # one output: a vector
    assert muon["weight_decay"] == TRAINING.weight_decay
