"""Every arm and control: what trains, what it shares with its neighbours, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from hybrid_pipeline.arms import Arm, baseline, chain, chain_arm, feasible_subsets
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.training.cost import flops_per_example, parameter_counts
from toy_study import (
    EVERY_ARM,
    MODEL,
    SHAPE,
    full_depth_losses,
    named,
    toy_batch,
    toy_model,
)

SUBSETS = tuple(
    Arm("subset", subset)
    for subset in feasible_subsets()
    if subset not in [a.components for a in chain()]
)
BASELINE = baseline()
CLIP, N2N, TRM, FULL = map(chain_arm, ("clip", "n2n", "trm", "coconut"))


@pytest.mark.parametrize("arm", [*EVERY_ARM, *SUBSETS], ids=lambda arm: f"{arm.name}-{arm.letters}")
def test_all_that_is_trainable_gets_a_gradient_and_nothing_else(data, arm):
    model, batch = toy_model(arm), toy_batch(data)
    losses = full_depth_losses(model, batch)
    assert len(losses) == model.max_steps == (3 if arm.has("trm") else 1)
    torch.stack(losses).sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n, g in gradients.items() if g is not None} == trainable
    assert all(bool(gradients[n].isfinite().all()) for n in trainable)
    adapter = {n for n in gradients if n.startswith("encoder.adapters.n2n.")}
    assert bool(adapter) == arm.has("n2n")
    is_mlp = arm.name == "control_mlp_adapter"
    assert adapter <= trainable if is_mlp else not adapter & trainable


@pytest.mark.parametrize("gradient", ["one_step", "last_updates", "full"])
def test_every_gradient_rule_reaches_every_part(data, gradient):
    model = toy_model(FULL, trm__gradient=gradient)
    for loss in full_depth_losses(model, toy_batch(data)):
        loss.backward(retain_graph=True)
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    assert [n for n, p in trainable if p.grad is None] == []


def test_arms_with_one_seed_share_their_initial_weights():
    full = toy_model(FULL, seed=3).state_dict()
    for arm in chain()[:-1]:
        own = toy_model(arm, seed=3).state_dict()
        shared = own.keys() & full.keys()
        reader_of_vit = (
            {n for n in own if n.startswith("encoder.reader.")} if arm is BASELINE else set()
        )
        assert own.keys() <= full.keys()
        compared = {n for n in shared - reader_of_vit if own[n].shape == full[n].shape}
        assert compared == shared - reader_of_vit
        assert all(torch.equal(own[n], full[n]) for n in compared), arm.name
    assert {n.split(".")[0] for n in full} == {"encoder", "head", "stepper", "planner"}
    assert {n.split(".")[1] for n in full if n.startswith("encoder.")} == {
        "backbone", "adapters", "fusion", "reader",
    }  # fmt: skip


def test_another_seed_gives_other_weights_and_the_global_generator_stays():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    a, b = toy_model(FULL, seed=0), toy_model(FULL, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    parts = ("backbone", "fusion", "reader")
    for part in (*(f"encoder.{p}" for p in parts), "head", "stepper.core", "planner"):
        names = [n for n, p in a.named_parameters() if n.startswith(part) and p.ndim >= 2]
        weights = dict(b.named_parameters())
        assert any(not torch.equal(dict(a.named_parameters())[n], weights[n]) for n in names), part


def test_arms_two_to_four_train_the_same_number_of_parameters():
    counts = {arm.name: parameter_counts(toy_model(arm)) for arm in chain()}
    trainable = [counts[arm.name]["trainable"] for arm in (CLIP, N2N, TRM)]
    assert len(set(trainable)) == 1
    assert counts[BASELINE.name]["trainable"] < trainable[0] < counts[FULL.name]["trainable"]
    adapter = sum(p.numel() for p in toy_model(N2N).encoder.adapters.parameters())
    assert counts[N2N.name]["total"] == counts[CLIP.name]["total"] + adapter


def test_the_wide_vit_has_the_full_models_parameters():
    wide, full = (
        parameter_counts(toy_model(arm))["trainable"] for arm in (named("control_wide_vit"), FULL)
    )
    assert wide == pytest.approx(full, rel=0.01)


def test_the_mlp_adapter_has_the_adapters_parameters():
    mlp, n2n = (
        sum(p.numel() for p in toy_model(arm).encoder.adapters.parameters())
        for arm in (named("control_mlp_adapter"), N2N)
    )
    assert mlp == pytest.approx(n2n, rel=0.02)


def test_the_deep_core_costs_what_the_recursion_costs():
    """Equal but for the head, which recursion reads once more per further supervision step."""
    deep, trm = toy_model(named("control_deep_core")), toy_model(TRM)
    head = 2 * SHAPE.num_slots * MODEL.core.dim * SHAPE.num_classes
    assert flops_per_example(trm) - flops_per_example(deep) == (trm.max_steps - 1) * head
    assert parameter_counts(deep)["trainable"] > parameter_counts(trm)["trainable"]


@pytest.mark.parametrize("static", [False, True])
def test_planning_for_some_rows_equals_planning_for_all_on_those_rows(data, static):
    model, batch = toy_model(FULL).eval(), toy_batch(data)
    model.static_shapes = static
    x = model.encode(batch.images, batch.clip).x
    rows = torch.tensor([True, False, False, True, True, False])
    every = model.step(model.initial_carry(x), x)
    some = model.step(model.initial_carry(x), x, rows)
    none = model.step(model.initial_carry(x), x, torch.zeros(6, dtype=torch.bool))
    for name in ("state", "logits"):
        planned, partly, plain = (getattr(o, name) for o in (every, some, none))
        assert_close(partly[rows], planned[rows], rtol=1e-5, atol=1e-5)
        assert torch.equal(partly[~rows], plain[~rows])
        assert not torch.allclose(planned, plain, atol=1e-3)
    assert torch.equal(some.carry.z_H, some.state)
    assert len(some.plan.weights) == (6 if static else 3)


def test_mixing_probabilities_and_states_by_hand(data):
    batch = toy_batch(data)
    for mix in ("probabilities", "states"):
        model = toy_model(FULL, coconut__mix=mix).eval()
        x = model.encode(batch.images, batch.clip).x
        out = model.step(model.initial_carry(x), x)
        plan = out.plan
        weights = plan.weights[:, :, None, None]
        if mix == "probabilities":
            by_hand = (model.head(plan.states).softmax(-1) * weights).sum(1)
            assert_close(out.logits.exp(), by_hand)
            assert_close(out.logits.exp().sum(-1), torch.ones(6, SHAPE.num_slots))
        else:
            assert_close(out.logits, model.head((plan.states * weights).sum(1)))
        assert_close(out.state, (plan.states * weights).sum(1))


def test_an_arm_without_trm_applies_the_core_once(data):
    model, batch = toy_model(CLIP).eval(), toy_batch(data)
    x = model.encode(batch.images, batch.clip).x
    out = model.step(model.initial_carry(x), x)
    assert_close(out.logits, model.head(model.core(x)))
    assert out.carry.steps.tolist() == [1] * 6


def test_the_linear_probe_reads_frozen_tokens_alone(data):
    model, batch = toy_model(named("control_linear_probe")), toy_batch(data)
    parts = {n.rpartition(".")[0] for n, _ in model.named_parameters()}
    assert parts == {"encoder.reader.norm", "encoder.reader.merge", "head"}
    first = model.encode(batch.images, batch.clip).x
    assert torch.equal(model.encode(torch.zeros_like(batch.images), batch.clip).x, first)


def test_one_path_overrides_the_number_of_paths(data):
    model, batch = toy_model(named("control_one_path")), toy_batch(data)
    x = model.encode(batch.images, batch.clip).x
    assert model.step(model.initial_carry(x), x).plan.weights.shape == (6, 1)


def test_clip_without_tokens_is_refused(data):
    blind = replace(SHAPE, clip_tokens=0, clip_width=0)
    with pytest.raises(ValueError, match="arm_2_clip' needs frozen tokens, and none were cached"):
        build_model(CLIP, MODEL, blind, seed=0)
    with pytest.raises(ValueError, match="cache features first"):
        build_model(named("control_wide_vit"), MODEL, blind, seed=0)
    build_model(BASELINE, MODEL, blind, seed=0)
    with pytest.raises(ValueError, match="needs frozen tokens with its images"):
        toy_model(CLIP).encode(toy_batch(data).images, None)


def test_planning_over_a_mixing_core_is_refused(data):
    model, batch = toy_model(FULL, core__mlp_t=True), toy_batch(data)
    x = model.encode(batch.images, batch.clip).x
    with pytest.raises(ValueError, match="mlp_t"):
        model.step(model.initial_carry(x), x)


def test_components_are_checked():
    with pytest.raises(ValueError, match="'n2n' requires clip"):
        build_model(Arm("x", ("n2n",)), MODEL, SHAPE, seed=0)
