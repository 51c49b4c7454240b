"""Capture without a GPU: what comes before it, what a graph would read, and the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hybrid_pipeline.training import capture, loop
from hybrid_pipeline.training.capture import Captured, map_tensors, tensors_in, warm_up
from hybrid_pipeline.training.loop import Trainer
from toy_study import HALTING, TRAINING, changed, named, toy_model

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Inner:
    values: Tensor
    name: str = "inner"


@dataclass(frozen=True)
class Outer:
    first: Tensor
    inner: Inner
    missing: Tensor | None = None


def outer(value: float) -> Outer:
    return Outer(torch.tensor([value]), Inner(torch.tensor([[value, -value]])))


def test_tensors_are_found_and_changed_in_order_and_nothing_else():
    assert [t.shape for t in tensors_in(outer(2.0))] == [(1,), (1, 2)]
    nested = {"a": [torch.zeros(2), 3], "b": {"c": (torch.ones(1), "text")}}
    assert [float(t.sum()) for t in tensors_in(nested)] == [0.0, 1.0]
    doubled = map_tensors(lambda t: 2 * t, outer(2.0))
    assert doubled.inner.values.tolist() == [[4.0, -4.0]]
    assert (doubled.inner.name, doubled.missing) == ("inner", None)


def test_a_warm_up_leaves_no_trace():
    """Values are put back in place; what the first call makes is as it was when it was made."""
    weight, made = torch.tensor([1.0, 2.0]), {}
    weight_at = weight.data_ptr()

    def run():
        average = made.setdefault("average", torch.zeros(2))
        average.add_(weight)
        weight.mul_(3)

    warm_up(run, lambda: [weight, *made.values()])
    assert weight.tolist() == [1.0, 2.0]
    assert made["average"].tolist() == [0.0, 0.0]
    run()
    assert (weight.tolist(), made["average"].tolist()) == ([3.0, 6.0], [1.0, 2.0])
    assert weight.data_ptr() == weight_at


class Replayed(Captured):
    """``Captured`` as on a GPU; its graph is played by the function on the inputs it would read."""

    captures, replays = 0, 0

    def __init__(self, function, state, device, *, enabled=True):
        super().__init__(function, state, device, enabled=enabled)
        self.is_on = True

    def _record(self, kept):
        Replayed.captures += 1
        outputs = {}

        def replay():
            Replayed.replays += 1
            outputs.update(self.function(kept))

        return capture._Graph(kept, outputs, replay)


@pytest.fixture
def replayed(monkeypatch):
    monkeypatch.setattr(Replayed, "captures", 0)
    monkeypatch.setattr(Replayed, "replays", 0)
    return Replayed


def test_each_shape_of_inputs_is_captured_once(replayed):
    total = torch.zeros(1)

    def add(inputs):
        total.add_(inputs.first.sum())
        return {"total": total.clone()}

    run = replayed(add, lambda: [total], CPU)
    wide = Outer(torch.tensor([1.0, 2.0]), Inner(torch.zeros(1, 2)))
    found = [float(run(given)["total"]) for given in (outer(1.0), outer(2.0), wide, outer(4.0))]
    assert found == [1.0, 3.0, 6.0, 10.0]
    assert (replayed.captures, replayed.replays) == (2, 4)
    run.close()
    assert float(run(outer(1.0))["total"]) == 11.0
    assert replayed.captures == 3


def test_a_cpu_runs_the_function_as_it_is():
    ran = []
    run = Captured(lambda inputs: ran.append(inputs) or {"a": inputs.first}, list, CPU)
    assert run(outer(2.0))["a"].tolist() == [2.0]
    assert len(ran) == 1  # no warm-up


@pytest.mark.parametrize("arm", ["arm_1_baseline", "arm_5_coconut"])
def test_replayed_updates_are_those_that_ran_as_they_are(data, replayed, monkeypatch, arm):
    """Warm-up, restored state, inputs copied to where they are read: no bit of a run changes.

    The DQN learns after its warm-up only, which gives the update a second form.
    """
    found = []
    for kind in (Captured, replayed):
        monkeypatch.setattr(loop, "Captured", kind)
        training = changed(TRAINING, epochs=2)
        found.append(Trainer(toy_model(named(arm)), data, training, HALTING, seed=0).run())
    plain, again = found
    assert plain.log.updates == again.log.updates
    left, right = plain.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    if plain.agent is not None:
        assert replayed.captures == 2
        for a, b in zip(plain.agent.tensors(), again.agent.tensors(), strict=True):
            assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert replayed.replays == 12


def test_the_state_holds_every_tensor_that_an_update_changes(data):
    """What ``_state`` leaves out would keep its warm-up: nothing that changes may be missing."""
    runner = Trainer(
        toy_model(named("arm_5_coconut")), data, changed(TRAINING, epochs=1), HALTING, seed=0
    )
    kept = {t.data_ptr() for t in runner._state()}
    reachable = [
        *runner.model.parameters(), *runner.ema.module.parameters(), runner.ema.num_averaged,
        runner.scale.scale, runner.scale.finite_in_a_row, runner.block.values,
        *runner.agent.q.parameters(), *runner.agent.target.parameters(),
        *runner.agent.replay.columns.values(),
    ]  # fmt: skip
    assert all(t.data_ptr() in kept for t in reachable if t.numel())
    runner.run()
    optimizers = [*runner.optimizer.by_name.values(), runner.agent.optimizer]
    states = [state for each in optimizers for state in each.state.values()]
    made = {t.data_ptr() for s in states for t in s.values()}
    assert made <= {t.data_ptr() for t in runner._state()}
