"""The recursion against golden values of the published code, by hand and at its limits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from golden.trm_case import CASES, run_ours, sketch
from hybrid_pipeline.config import CoreConfig, TrmConfig
from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.models.parts import Carry
from hybrid_pipeline.models.trm import Recursion

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "trm.npz")


class Counting(Core):
    """A core that notes every call and whether it built a graph."""

    def __init__(self, name: str = "f") -> None:
        super().__init__(CoreConfig(dim=16, num_heads=2), 4)
        self.name = name
        self.calls: list[tuple[str, bool]] = []

    def forward(self, hidden, injection=None, mask=None, positions=None):
        out = super().forward(hidden, injection, mask, positions)
        self.calls.append((self.name, out.requires_grad))
        return out


def recursion(**options) -> Recursion:
    torch.manual_seed(0)
    second = Counting("f_L") if options.get("separate_networks") else None
    return Recursion(TrmConfig(**options), Counting(), second)


# Relative to the largest entry. The recursion amplifies how a processor rounds its fp32 matrix
# products (2.5e-4 was seen between vector units), which float64 puts far below its tolerance.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-3}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_against_the_published_code(case, dtype, in_dtype):
    """Logits, losses, final state and gradients over three supervision steps."""
    ours = run_ours(case)
    assert ours["z_H"].dtype == dtype
    keys = [key for key in GOLDEN.files if key.split(":")[0] == case.name]
    assert len(keys) == len(ours)
    for key in keys:
        name, expected = key.split(":")[1], torch.from_numpy(GOLDEN[key])
        found = sketch(name, ours[name]).double()
        tolerance = TOLERANCES[dtype] * expected.abs().max().item()
        assert_close(found, expected, rtol=0, atol=tolerance, msg=key)


@pytest.mark.parametrize(("H_cycles", "L_cycles"), [(1, 1), (2, 2), (3, 1), (1, 4)])
def test_order_of_updates_by_hand(H_cycles, L_cycles):
    model = recursion(H_cycles=H_cycles, L_cycles=L_cycles)
    x = torch.randn(2, 4, 16)
    carry = model(model.initial_carry(2, 4), x)
    z_H, z_L = model.H_init.expand(2, 4, -1), model.L_init.expand(2, 4, -1)
    for _ in range(H_cycles):
        for _ in range(L_cycles):
            z_L = model.core(z_L + z_H + x)
        z_H = model.core(z_H + z_L)
    assert_close(carry.z_H, z_H, rtol=1e-5, atol=1e-5)
    assert_close(carry.z_L, z_L, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("gradient", "with_graph"), [("last_updates", 2), ("one_step", 3), ("full", 9)]
)
def test_cycles_with_a_graph(gradient, with_graph):
    model = recursion(H_cycles=3, L_cycles=2, gradient=gradient)
    carry = model(model.initial_carry(2, 4), torch.randn(2, 4, 16))
    assert [graph for _, graph in model.core.calls].count(True) == with_graph
    assert len(model.core.calls) == 9
    assert carry.z_H.requires_grad
    assert not carry.detach().z_H.requires_grad
    assert not carry.detach().z_L.requires_grad


def test_one_update_of_each_has_the_same_gradient_under_every_rule():
    gradients = []
    for gradient in ("last_updates", "one_step", "full"):
        model = recursion(H_cycles=1, L_cycles=1, gradient=gradient)
        torch.manual_seed(1)
        model(model.initial_carry(2, 4), torch.randn(2, 4, 16)).z_H[..., 0].sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert_close(gradients[0], gradients[1])
    assert_close(gradients[0], gradients[2])


def test_separate_networks_take_turns():
    model = recursion(H_cycles=2, L_cycles=2, separate_networks=True)
    order = []
    model.core.calls = model.core_L.calls = order
    model(model.initial_carry(1, 4), torch.randn(1, 4, 16))
    assert [name for name, _ in order] == ["f_L", "f_L", "f"] * 2


def test_two_equal_networks_compute_what_one_computes():
    one, two = recursion(), recursion(separate_networks=True)
    state = one.core.state_dict()
    two.core.load_state_dict(state)
    two.core_L.load_state_dict(state)
    two.H_init, two.L_init = one.H_init, one.L_init
    x = torch.randn(2, 4, 16)
    assert torch.equal(one(one.initial_carry(2, 4), x).z_H, two(two.initial_carry(2, 4), x).z_H)


def test_the_initial_state_is_fixed_and_kept_in_checkpoints():
    model = recursion()
    assert {"H_init", "L_init"} <= set(model.state_dict())
    assert not any(name.endswith("_init") for name, _ in model.named_parameters())
    carry = model.initial_carry(3, 4)
    assert carry.z_H.shape == (3, 4, 16)
    assert torch.equal(carry.z_H[0, 0], carry.z_H[2, 3])
    assert carry.steps.tolist() == [0, 0, 0]
    assert not carry.halted.any()


def test_steps_count_and_only_halted_sequences_start_afresh():
    model = recursion()
    x = torch.randn(3, 4, 16)
    carry = model(model(model.initial_carry(3, 4), x).detach(), x).detach()
    assert carry.steps.tolist() == [2, 2, 2]
    halted = torch.tensor([False, True, False])
    again = model.reset(Carry(carry.z_H, carry.z_L, carry.steps, halted))
    assert again.steps.tolist() == [2, 0, 2]
    assert not again.halted.any()
    assert torch.equal(again.z_H[0], carry.z_H[0])
    assert torch.equal(again.z_H[1], model.H_init.expand(4, -1))
    assert torch.equal(again.z_L[1], model.L_init.expand(4, -1))


def test_number_of_networks_must_fit_the_configuration():
    core = Counting()
    with pytest.raises(ValueError, match="needs a second core"):
        Recursion(TrmConfig(separate_networks=True), core)
    with pytest.raises(ValueError, match="separate_networks is false"):
        Recursion(TrmConfig(), core, Counting())
