"""One loop for all arms: it learns, repeats itself, resumes bit for bit, gives up aloud."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.testing import assert_close

from hybrid_pipeline.training import loop
from hybrid_pipeline.training.loop import Trained, Trainer, TrainingDivergedError
from toy_study import HALTING, TRAINING, changed, named, toy_model

FULL, TRM, PLAIN = (named(n) for n in ("arm_5_coconut", "arm_4_trm", "arm_2_clip"))


class StopError(RuntimeError):
    """Stands for a kill."""


def trainer(data, arm, *, seed=0, checkpoint=None, validate=None, model=None, **changes) -> Trainer:
    return Trainer(
        model or toy_model(arm, seed=seed),
        data,
        changed(TRAINING, **changes),
        HALTING,
        seed=seed,
        checkpoint=checkpoint,
        validate=validate,
    )


def assert_same_state(a: Trained, b: Trained) -> None:
    left, right = a.model.state_dict(), b.model.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert a.log.updates == b.log.updates
    assert a.log.validations == b.log.validations
    if a.agent is None or b.agent is None:
        assert a.agent is b.agent
        return
    first, second = a.agent.state_dict(), b.agent.state_dict()
    assert first["num_updates"] == second["num_updates"]
    for part in ("q", "target"):
        assert all(torch.equal(first[part][k], second[part][k]) for k in first[part])
    assert torch.equal(
        first["replay"]["columns"]["rewards"], second["replay"]["columns"]["rewards"]
    )


@pytest.mark.parametrize("arm", [PLAIN, FULL], ids=lambda arm: arm.name)
def test_the_loss_falls_below_a_guess(data, arm):
    log = trainer(data, arm, epochs=15).run().log
    assert len(log.updates) == 15 * 6
    per_step = toy_model(arm).max_steps
    guess = per_step * torch.tensor(3.0).log().item()
    last = [row["loss"] for row in log.updates[-6:]]
    assert log.updates[0]["loss"] > 0.8 * guess
    assert max(last) < 0.4 * guess


def test_the_same_seed_gives_the_same_bits_and_another_does_not(data):
    a, b, other = (trainer(data, FULL, seed=s, epochs=1).run() for s in (0, 0, 1))
    assert_same_state(a, b)
    assert not torch.equal(a.model.head.weight, other.model.head.weight)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("arm", [PLAIN, FULL], ids=lambda arm: arm.name)
def test_interrupted_and_resumed_equals_uninterrupted(
    data, tmp_path, monkeypatch, arm, ema, optimizer
):
    def validate(model):
        return {"score": float(model.head.weight.detach().sum())}

    options = {"validate": validate, "ema": ema, "epochs": 2, "optimizer": optimizer}
    whole = trainer(data, arm, **options).run()
    path = tmp_path / "checkpoint.pt"
    after_update = Trainer._after_update

    def killed(self, done):
        after_update(self, done)
        if done == 7:  # one update after the checkpoint of 6 is lost
            raise StopError

    monkeypatch.setattr(Trainer, "_after_update", killed)
    with pytest.raises(StopError):
        trainer(data, arm, checkpoint=path, **options).run()
    monkeypatch.undo()
    again = trainer(data, arm, checkpoint=path, **options)
    done_before = []
    monkeypatch.setattr(
        Trainer,
        "_after_update",
        lambda self, done: (done_before.append(done), after_update(self, done)),
    )
    resumed = again.run()
    assert done_before == list(range(7, 13))
    assert_same_state(whole, resumed)


def test_seconds_before_the_interruption_count(data, tmp_path):
    path = tmp_path / "checkpoint.pt"
    first = trainer(data, PLAIN, epochs=1, checkpoint=path)
    first._started -= 1000
    first.run()
    again = trainer(data, PLAIN, epochs=1, checkpoint=path).run()
    assert 1000 <= again.seconds < 1100


def test_ema_is_what_is_evaluated(data):
    runner = trainer(data, PLAIN, epochs=1)
    trained = runner.run()
    assert trained.model is not runner.model
    assert not torch.equal(trained.model.head.weight, runner.model.head.weight)
    plain = trainer(data, PLAIN, epochs=1, ema=False)
    assert plain.run().model is plain.model
    assert_close(plain.model.head.weight, runner.model.head.weight, rtol=0, atol=0)


@pytest.mark.parametrize("arm", [PLAIN, FULL], ids=lambda arm: arm.name)
def test_losses_that_are_not_finite_are_skipped_then_end_the_run(data, arm):
    model = toy_model(arm)
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    runner = trainer(data, arm, model=model, max_skipped_steps=4)
    with pytest.raises(TrainingDivergedError, match="4 updates in a row up to update 4") as caught:
        runner.run()
    assert [row["finite"] for row in caught.value.log.updates] == [0.0] * 4
    after = model.state_dict()
    assert all(torch.equal(after[k].nan_to_num(9.0), before[k].nan_to_num(9.0)) for k in before)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_bad_batch_is_survived(data, optimizer):
    options = {"epochs": 1, "max_skipped_steps": 2, "optimizer": optimizer}
    runner = trainer(data, named("arm_1_baseline"), **options)
    decode, steps = runner.decode, iter(range(6))

    def poisoned(stored):
        batch = decode(stored)
        if next(steps) == 2:
            batch.images.fill_(float("nan"))
        return batch

    runner.decode = poisoned
    trained = runner.run()
    assert [row["finite"] for row in trained.log.updates] == [1, 1, 0, 1, 1, 1]
    assert all(bool(p.isfinite().all()) for p in trained.model.parameters())


@pytest.mark.parametrize("arm", ["arm_3_n2n", "arm_4_trm"])
def test_micro_batches_give_the_update_of_the_whole_batch(data, arm):
    """With a large eps, AdamW is linear in the gradient and does not blow up rounding errors of
    gradients that are zero in theory, such as those of the keys' biases.
    """
    options = {"epochs": 1, "optimizer": "adamw", "lr": 0.1, "adam_eps": 1.0, "ema": False}
    one, four = (
        trainer(data, named(arm), micro_batch_size=size, **options).run() for size in (None, 2)
    )
    for a, b in zip(one.log.updates, four.log.updates, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
    for (name, a), (_, b) in zip(
        one.model.named_parameters(), four.model.named_parameters(), strict=True
    ):
        assert_close(a, b, rtol=1e-6, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_an_update_for_every_supervision_step(data, monkeypatch):
    arm, counted = TRM, []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a, **k: (counted.append(1), step(self, *a, **k))
    )
    depth = toy_model(arm).max_steps
    each = trainer(data, arm, epochs=1, update="per_supervision_step")
    each.run()
    assert (depth, len(counted)) == (3, 6 * 3)
    assert int(each.ema.num_averaged) == 6 * 3  # as published: the average moves at every update
    counted.clear()
    trained = trainer(data, arm, epochs=1, update="per_batch").run()
    assert len(counted) == 6
    assert len(trained.log.updates) == 6


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("arm", [PLAIN, FULL], ids=lambda arm: arm.name)
def test_autocast_takes_two_steps(data, arm, precision):
    log = trainer(data, arm, epochs=2, global_batch_size=48, precision=precision).run().log
    exact = trainer(data, arm, epochs=2, global_batch_size=48).run().log
    assert len(log.updates) == 2
    assert log.updates[0]["loss"] == pytest.approx(exact.updates[0]["loss"], rel=0.02)
    assert log.updates[0]["loss"] != exact.updates[0]["loss"]


def test_gradient_free_cycles_under_autocast_leave_the_core_its_gradient(data):
    """Autocast caches cast weights; a copy cached without gradient would cut the last cycle off."""
    runner = trainer(
        data, TRM, model=toy_model(TRM, trm__gradient="one_step"), precision="bf16", epochs=1
    )
    next(runner.steps())
    trainable = {n: p.grad for n, p in runner.model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trainable.items() if grad is None] == []
    assert all(float(trainable[n].norm()) > 0 for n in trainable if n.startswith("core."))


def test_gradient_checkpointing_changes_no_bit(data):
    a, b = (trainer(data, PLAIN, epochs=1, gradient_checkpointing=on).run() for on in (False, True))
    assert_same_state(a, b)


def test_a_dqn_watches_arms_with_a_depth_to_choose_unless_told_not_to(data):
    wanted = {"arm_4_trm": True, "arm_3_n2n": False, "control_deep_core": False}
    found = {arm: trainer(data, named(arm)).agent is not None for arm in wanted}
    assert found == wanted
    assert loop.build_agent(toy_model(TRM), changed(HALTING, policy="fixed"), 0) is None
    single = toy_model(TRM, trm__supervision_steps=1)
    assert trainer(data, TRM, model=single).agent is None


@pytest.mark.parametrize("damage", ["truncated", "other_parts", "garbage"])
def test_a_damaged_checkpoint_never_starts_over_silently(data, tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    trainer(data, FULL, epochs=1, checkpoint=path).run()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "garbage":
        path.write_bytes(b"not a checkpoint")
    else:
        state = torch.load(path, weights_only=True)
        del state["parts"]["agent"]
        torch.save(state, path)
    before = path.read_bytes()
    with pytest.raises((RuntimeError, KeyError, pickle.UnpicklingError)):
        trainer(data, FULL, epochs=1, checkpoint=path).run()
    assert path.read_bytes() == before
