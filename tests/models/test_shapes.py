"""An arm without weights against the same arm with them."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from hybrid_pipeline.models import shapes
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.models.shapes import build_shapes
from hybrid_pipeline.training.cost import flops_per_example, parameter_counts
from hybrid_pipeline.training.work import forward_flops, update_flops, work_of_arms
from toy_study import EVERY_ARM, MODEL, SHAPE, changed, named


def _layout(model: nn.Module) -> dict[str, tuple[object, ...]]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: (t.shape, t.dtype, t.requires_grad) for name, t in tensors.items()}


@pytest.mark.parametrize("arm", EVERY_ARM, ids=lambda arm: arm.name)
def test_shapes_parameters_and_operations_are_those_of_the_real_arm(arm):
    real, empty = build_model(arm, MODEL, SHAPE, seed=3), build_shapes(arm, MODEL, SHAPE)
    assert _layout(empty) == _layout(real)
    assert {t.device.type for t in empty.state_dict().values()} == {"meta"}
    assert parameter_counts(empty) == parameter_counts(real)
    assert forward_flops(empty) == flops_per_example(real)
    assert work_of_arms([arm.name], [SHAPE], MODEL) == {arm.name: update_flops(real)}


@pytest.mark.parametrize("part", ["vit__depth", "core__num_layers"])
def test_a_deeper_part_still_counts(part):
    arm, deep = named("arm_5_coconut"), changed(MODEL, **{part: 3})
    assert forward_flops(build_shapes(arm, deep, SHAPE)) > forward_flops(
        build_shapes(arm, MODEL, SHAPE)
    )


def test_no_weight_is_drawn_and_the_generator_stays(monkeypatch):
    drawn = []

    def recorded(fill):
        return lambda tensor, *given, **named: (
            drawn.append(tensor.device.type) or fill(tensor, *given, **named)
        )

    for name in ("trunc_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, name, recorded(getattr(nn.init, name)))
    before = torch.random.get_rng_state()
    sincos = changed(MODEL, vit__pos_encodings="sincos")
    build_shapes(named("arm_1_baseline"), sincos, SHAPE)
    assert set(drawn) == {"meta"}
    assert torch.equal(torch.random.get_rng_state(), before)
    build_model(named("arm_1_baseline"), sincos, SHAPE, seed=0)
    assert set(drawn) == {"meta", "cpu"}


def test_a_tied_weight_is_counted_once():
    with shapes._without_weights():
        one = nn.Linear(3, 3)
        two = nn.Linear(3, 3)
        two.weight = one.weight
    assert parameter_counts(nn.ModuleList([one, two]))["total"] == 9 + 3 + 3


def test_what_another_thread_builds_has_weights():
    made = []
    with shapes._without_weights():
        other = threading.Thread(target=lambda: made.append(nn.Linear(2, 2)))
        other.start()
        other.join()
        assert nn.Linear(2, 2).weight.is_meta
    assert [linear.weight.device.type for linear in made] == ["cpu"]
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_a_part_that_reads_its_weights_is_built_with_them(monkeypatch):
    arm = named("arm_1_baseline")
    real = flops_per_example(build_model(arm, MODEL, SHAPE, seed=0))
    built = shapes.build_model
    tries = []

    def reading(arm, config, shape, *, seed):
        tries.append(seed)
        model = built(arm, config, shape, seed=seed)
        model.scale = float(next(model.parameters()).detach().std())  # on meta, torch refuses
        return model

    monkeypatch.setattr(shapes, "build_model", reading)
    assert forward_flops(build_shapes(arm, MODEL, SHAPE)) == real
    assert len(tries) == 2
