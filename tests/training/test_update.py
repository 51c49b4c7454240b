"""The update: gradients of the summed losses, no host read, the same calls every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from hybrid_pipeline.halting.actions import CONTINUE, EXPAND
from hybrid_pipeline.halting.observer import Observer
from hybrid_pipeline.training.loop import Trainer
from hybrid_pipeline.training.losses import example_losses
from toy_study import (
    EVERY_ARM,
    HALTING,
    TRAINING,
    changed,
    full_depth_losses,
    named,
    toy_batch,
    toy_model,
)

TRM, FULL = named("arm_4_trm"), named("arm_5_coconut")


def trainer(data, arm, *, model=None, halting=HALTING, **changes) -> Trainer:
    training = changed(TRAINING, ema=False, **changes)
    return Trainer(model or toy_model(arm), data, training, halting, seed=0)


def in_float64(batch):
    clip = None if batch.clip is None else batch.clip.double()
    return type(batch)(batch.images.double(), clip, batch.targets, batch.scored)


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def run_once(runner: Trainer, batch, step: int = 0) -> dict[str, torch.Tensor]:
    return runner.update(batch, runner._inputs(step, len(batch))[0])


@pytest.mark.parametrize("gradient", ["one_step", "last_updates", "full"])
@pytest.mark.parametrize("arm", ["arm_2_clip", "arm_4_trm", "arm_5_coconut", "control_deep_core"])
def test_a_backward_per_step_gives_the_gradient_of_the_summed_losses(data, arm, gradient):
    arm = named(arm)
    batch = in_float64(toy_batch(data))
    by_sum, by_step = (toy_model(arm, trm__gradient=gradient).double() for _ in range(2))
    total = torch.stack(full_depth_losses(by_sum, batch)).sum() / len(batch)
    total.backward()
    runner = trainer(
        data, arm, model=by_step, lr=1e-9, max_grad_norm=None,
        halting=changed(HALTING, policy="fixed"),
    )  # fmt: skip
    metrics = run_once(runner, batch)
    assert float(metrics["loss"]) == pytest.approx(float(total.detach()), rel=1e-6)
    wanted, found = gradients(by_sum), gradients(by_step)
    assert wanted.keys() == found.keys()
    for name, expected in wanted.items():
        assert_close(found[name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_only_the_rows_that_expand_are_trained_to_plan(data):
    """The loss of a row that does not expand is that of the recursion without planning."""
    batch = toy_batch(data)
    model = toy_model(FULL)
    runner = trainer(data, FULL, model=model)
    expand, step = [], model.step

    def spied(carry, x, mask=None):
        expand.append(mask)
        return step(carry, x, mask)

    model.step = spied
    loss = run_once(runner, batch)["loss"]
    assert expand[0] is None  # the first step always plans
    assert all(m.shape == (6,) and m.dtype == torch.bool for m in expand[1:])
    assert {bool(v) for m in expand[1:] for v in m} == {False, True}
    again = toy_model(FULL)
    with torch.no_grad():
        x = again.encode(batch.images, batch.clip).x
        carry, total = again.initial_carry(x), 0.0
        for mask in expand:
            rows = []
            for i in range(len(batch)):
                one = type(carry)(*(v[i : i + 1] for v in vars(carry).values()))
                plans = None if mask is None or mask[i] else torch.zeros(1, dtype=torch.bool)
                rows.append(again.step(one, x[i : i + 1], plans))
            logits = torch.cat([out.logits for out in rows])
            total += example_losses(logits, batch.targets, batch.scored).sum() / len(batch)
            carry = type(carry)(
                *(torch.cat([getattr(o.carry, n) for o in rows]) for n in vars(carry))
            )
    assert float(loss) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3, 6])
@pytest.mark.parametrize("rule", ["per_batch", "per_supervision_step"])
def test_planning_for_the_rows_that_expand_is_planning_for_all_and_dropping_the_rest(
    data, monkeypatch, rule, rows
):
    """What a CPU does against what a captured update does, in float64."""
    expand = torch.arange(6) < rows
    monkeypatch.setattr(Observer, "_choose", chosen(expand))
    found = []
    for static in (False, True):
        model = toy_model(FULL, coconut__diversity_weight=0.5).double()
        runner = trainer(
            data, FULL, model=model, update=rule, optimizer="adamw",
            halting=changed(HALTING, dqn_warmup_ratio=1.0),
        )  # fmt: skip
        model.static_shapes = static
        metrics = run_once(runner, in_float64(toy_batch(data)))
        found.append((metrics, gradients(model), model.state_dict()))
    for some, every in zip(*found, strict=True):
        assert some.keys() == every.keys()
        for name, expected in every.items():
            assert_close(some[name], expected, rtol=1e-8, atol=1e-10, msg=name)


def chosen(expand):
    """Instead of the DQN's choice."""

    def choose(self, *_):
        self._moves.append(torch.where(expand, EXPAND, CONTINUE))
        self.expansions = self.expansions + expand
        return expand

    return choose


def test_diversity_is_weighed_where_a_row_planned(data):
    batch, values = toy_batch(data), {}
    for weight in (0.0, 0.5):
        model = toy_model(FULL, coconut__diversity_weight=weight, trm__supervision_steps=1)
        values[weight] = float(run_once(trainer(data, FULL, model=model), batch)["loss"])
    fresh = toy_model(FULL, trm__supervision_steps=1)
    x = fresh.encode(batch.images, batch.clip).x
    diversity = fresh.step(fresh.initial_carry(x), x).plan.diversity().mean().item()
    assert diversity != 0
    assert values[0.5] - values[0.0] == pytest.approx(0.5 * diversity, rel=1e-3)


def test_metrics_of_each_component(data):
    def names(arm):
        return set(run_once(trainer(data, named(arm)), toy_batch(data)))

    always = {"loss", "grad_norm", "clipped", "finite"}
    assert names("arm_1_baseline") == always
    assert names("arm_4_trm") == always | {"fusion/gate_mean"}  # Q is frozen in the warm-up
    assert names("arm_5_coconut") == always | {
        "fusion/gate_mean", "coconut/weight_entropy", "coconut/disagreement",
    }  # fmt: skip
    late = run_once(trainer(data, FULL), toy_batch(data), step=20)
    learnt = {"halting/td_loss", "halting/q_mean", "halting/q_max"}
    assert set(late) == names("arm_5_coconut") | learnt
    assert all(v.shape == () and not v.requires_grad for v in late.values())


class Calls(TorchDispatchMode):
    """Keeps every operation with its shapes; refuses those that read a value back."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:
        name = func.__name__.split(".")[0]
        assert name not in self.READS, f"{name} reads a value back to the host"
        flat = torch.utils._pytree.tree_leaves((args, kwargs))
        self.seen.append((name, [tuple(a.shape) for a in flat if isinstance(a, torch.Tensor)]))
        return func(*args, **(kwargs or {}))


def calls_of(update: Callable[[], object]) -> list[tuple[str, list[tuple[int, ...]]]]:
    with Calls() as calls:
        update()
    return calls.seen


@pytest.mark.parametrize("rule", ["per_batch", "per_supervision_step"])
@pytest.mark.parametrize("arm", EVERY_ARM, ids=lambda arm: arm.name)
def test_an_update_reads_nothing_back_and_does_the_same_every_time(data, arm, rule):
    """What a captured graph needs: no value decides what is done, or with which shapes."""
    runner = trainer(
        data, arm, update=rule, micro_batch_size=3 if rule == "per_batch" else None,
        global_batch_size=6, precision="fp16" if arm is TRM else "fp32",
    )  # fmt: skip
    runner.model.static_shapes = True
    for step in (20, 21):  # the optimisers make their state
        run_once(runner, toy_batch(data, first=6), step)
    given = [
        (toy_batch(data, first=first), runner._inputs(step, 6)[0])
        for step, first in ((22, 0), (23, 12))
    ]
    first, second = (calls_of(lambda pair=pair: runner.update(*pair)) for pair in given)
    assert len(first) > 100
    assert first == second


def test_the_loss_scale_halves_at_an_overflow_and_changes_nothing_else(data):
    model = toy_model(TRM)
    runner = trainer(data, TRM, model=model, precision="fp16")
    assert float(runner.scale.scale) == 2.0**16
    before = {n: p.clone() for n, p in model.named_parameters()}
    bad = toy_batch(data)
    bad.images.fill_(float("inf"))
    assert float(run_once(runner, bad)["finite"]) == 0
    assert float(runner.scale.scale) == 2.0**15
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert float(run_once(runner, toy_batch(data), 1)["finite"]) == 1
    assert float(runner.scale.scale) == 2.0**15
    assert int(runner.scale.finite_in_a_row) == 1
    assert any(not torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_nothing_depends_on_how_often_metrics_are_read(data, monkeypatch):
    """Every update and every number is the same with a reading after each one."""
    from hybrid_pipeline.training import loop

    found = []
    for every in (1, 7):
        monkeypatch.setattr(loop, "LOG_EVERY_STEPS", every)
        found.append(Trainer(
            toy_model(FULL), data, changed(TRAINING, epochs=3), HALTING, seed=0
        ).run())  # fmt: skip
    one, other = found
    assert one.log.updates == other.log.updates
    left, right = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert np.isfinite([row["loss"] for row in one.log.updates]).all()


def test_unfilled_memory_leaves_every_bit_as_it_is(data):
    found = []
    for fill in (True, False):
        runner = trainer(data, FULL, epochs=2)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        found.append(runner.run().model.state_dict())
    assert not torch.utils.deterministic.fill_uninitialized_memory
    filled, plain = found
    assert all(torch.equal(filled[name], plain[name]) for name in filled)
