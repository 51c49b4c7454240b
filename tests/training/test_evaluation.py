"""Scores, policies and costs by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hybrid_pipeline.halting.actions import CONTINUE, EXPAND, HALT
from hybrid_pipeline.training import evaluation as evaluate_module
from hybrid_pipeline.training.cost import flops_per_example, parameter_counts
from hybrid_pipeline.training.evaluation import evaluate, halting_frame
from hybrid_pipeline.training.loop import build_agent
from hybrid_pipeline.training.scores import score_predictions
from toy_study import EVERY_ARM, HALTING, MODEL, SHAPE, changed, named, toy_batch, toy_model

TRM, FULL = named("arm_4_trm"), named("arm_5_coconut")


def test_scores_by_hand():
    predicted = np.array([[1, 2, 0], [1, 1, 1], [0, 0, 0]])
    targets = np.array([[1, 2, 2], [1, 0, 0], [0, 1, 0]])
    scored = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1]], dtype=bool)
    found = score_predictions(predicted, targets, scored, np.array([1, 2, 3]))
    assert found.correct.tolist() == [True, False, True]
    assert found.slots_correct.tolist() == [2, 1, 2]
    assert found.slots_total.tolist() == [2, 3, 2]
    assert found.values("correct").tolist() == [1, 0, 1]
    assert found.values("slots") == pytest.approx([1, 1 / 3, 1])
    assert found.mean("correct") == pytest.approx(2 / 3)
    assert found.mean("slots") == pytest.approx(7 / 9)
    frame = found.to_frame(arm="a", seed=3, task="t", example=np.array([7, 8, 9]))
    assert frame.columns.tolist() == [
        "arm", "seed", "task", "example", "correct", "slots_correct", "slots_total",
        "supervision_steps",
    ]  # fmt: skip
    assert frame["correct"].tolist() == [1, 0, 1]
    assert frame["supervision_steps"].tolist() == [1, 2, 3]


def run(data, arm, *, agent=None, model=None, split="test", batch_size=5):
    model = model or toy_model(arm)
    return evaluate(model, data, split, agent=agent, batch_size=batch_size)


def policies_of(data, found):
    """Mean score and steps of every policy on the test split."""
    frame = halting_frame(
        found.answers, data.table, "slots", split="test", step_cost=0.01, min_steps=1, seed=1
    )
    return frame.groupby("policy", sort=False)[["score", "steps"]].mean()


def logits_by_depth(model, data, split):
    """Classes [N, steps, S] from a plain loop over one example at a time."""
    model.eval()
    every = []
    for row in data.table.rows(split):
        batch = data.batch(np.array([row]), np.array([0]), with_clip=model.arm.has("clip"))
        with torch.no_grad():
            x = model.encode(batch.images, batch.clip).x
            carry, answers = model.initial_carry(x), []
            for _ in range(model.max_steps):
                out = model.step(carry, x)
                answers.append(out.logits.argmax(-1)[0].numpy())
                carry = out.carry.detach()
        every.append(np.stack(answers))
    return np.stack(every)


@pytest.mark.parametrize("arm", ["arm_1_baseline", "arm_5_coconut"])
def test_full_depth_equals_one_example_at_a_time(data, arm):
    model = toy_model(named(arm))
    answers = logits_by_depth(model, data, "validation")
    rows = data.table.rows("validation")
    targets, scored = data.table.targets[rows], data.table.scored[rows]
    found = run(data, None, model=model, split="validation")
    assert_array_equal(found.scores.slots_correct, ((answers[:, -1] == targets) & scored).sum(1))
    assert set(found.scores.supervision_steps) == {model.max_steps}
    assert_array_equal(found.answers.predicted, answers)
    assert found.answers.predicted.dtype == np.int16
    assert found.halted is None
    assert set(found.answers.arrays()) == {"predicted"}


def test_policies_are_scored_on_the_same_weights(data):
    model = toy_model(TRM)
    agent = build_agent(model, HALTING, seed=0)
    found = run(data, TRM, model=model, agent=agent)
    policies = policies_of(data, found)
    assert policies.index.tolist() == ["dqn", "fixed_1", "fixed_2", "fixed_3", "random", "oracle"]
    rows = data.table.rows("test")
    targets, scored = data.table.targets[rows], data.table.scored[rows]
    for depth in (1, 2, 3):
        right = ((found.answers.predicted[:, depth - 1] == targets) & scored).sum(1) / scored.sum(1)
        assert policies.loc[f"fixed_{depth}"].tolist() == [pytest.approx(right.mean()), depth]
    assert policies.loc["dqn", "score"] == pytest.approx(found.halted.mean("slots"))
    assert policies["score"].max() == policies.loc["oracle", "score"]
    without = run(data, TRM)
    with pytest.raises(ValueError, match="without a DQN"):
        policies_of(data, without)


@pytest.mark.parametrize("arm", [TRM, FULL], ids=lambda arm: arm.name)
def test_the_batch_size_does_not_change_the_scores(data, arm):
    model = toy_model(arm)
    agent = build_agent(model, HALTING, seed=0)
    one, all_ = (run(data, arm, agent=agent, model=model, batch_size=b) for b in (1, 100))
    for name in ("correct", "slots_correct", "supervision_steps"):
        assert_array_equal(getattr(one.halted, name), getattr(all_.halted, name))
    assert one.loss == pytest.approx(all_.loss, rel=1e-5)


class Scripted:
    """Halts each row at its own depth and goes on in one way: a path to check by hand."""

    def __init__(self, depths: list[int], go_on: int, num_actions: int = 3) -> None:
        self.config, self.go_on = changed(HALTING, min_steps=1), go_on
        self.num_actions = num_actions
        self.depths, self.step = torch.tensor(depths), 0

    def greedy(self, states, legal):
        self.step += 1
        return torch.where(self.depths <= self.step, HALT, self.go_on)


def test_the_greedy_path_ends_at_the_first_depth_whose_best_action_is_halt(data):
    """Scripted depths 1 to 3; planning rows keep to the loop that plans in every step."""
    model = toy_model(FULL)
    answers = logits_by_depth(model, data, "test")
    rows = data.table.rows("test")
    depths = [1 + i % 3 for i in range(len(rows))]
    found = run(data, FULL, agent=Scripted(depths, EXPAND), model=model, batch_size=100)
    assert found.halted.supervision_steps.tolist() == depths
    assert found.answers.halted_at.tolist() == depths
    chosen = answers[np.arange(len(rows)), np.array(depths) - 1]
    assert_array_equal(found.answers.halted_predicted, chosen)
    right = ((chosen == data.table.targets[rows]) & data.table.scored[rows]).sum(1)
    assert_array_equal(found.halted.slots_correct, right)


def test_an_arm_that_cannot_expand_halts_on_the_full_depth_path(data):
    """The halted answer is the answer at that depth, to the bit."""
    depths = np.array([1 + i % 3 for i in range(len(data.table.rows("test")))])
    agent = Scripted(depths.tolist(), CONTINUE, num_actions=2)
    answers = run(data, TRM, agent=agent, batch_size=100).answers
    assert_array_equal(answers.halted_at, depths)
    chosen = answers.predicted[np.arange(len(depths)), depths - 1]
    assert_array_equal(answers.halted_predicted, chosen)


def test_continuing_leaves_planning_out(data):
    model, masks = toy_model(FULL), []
    step = model.step

    def spied(carry, x, expand=None):
        masks.append(None if expand is None else set(expand.tolist()))
        return step(carry, x, expand)

    model.step = spied
    rows = data.table.rows("test")
    run(data, FULL, agent=Scripted([3] * len(rows), CONTINUE), model=model, batch_size=100)
    assert masks == [None] * 3 + [None, {False}, {False}]  # full depth, then the policy's path


def test_q_values_of_a_real_agent_choose_the_path(data):
    """Bias the Q-head by hand: always halt, then never."""
    for action, steps in ((HALT, 1), (CONTINUE, 3)):
        model = toy_model(TRM)
        agent = build_agent(model, HALTING, seed=0)
        with torch.no_grad():
            final = [m for m in agent.q.modules() if isinstance(m, torch.nn.Linear)][-1]
            final.weight.zero_()
            final.bias.zero_()
            final.bias[action] = 1.0
        found = run(data, TRM, agent=agent, model=model)
        assert set(found.halted.supervision_steps) == {steps}
        same = policies_of(data, found).loc[f"fixed_{steps}", "score"]
        assert found.halted.mean("slots") == pytest.approx(same)


def test_halting_is_illegal_before_min_steps(data):
    model = toy_model(TRM)
    agent = build_agent(model, changed(HALTING, min_steps=2), seed=0)
    found = run(data, TRM, agent=agent, model=model)
    assert found.halted.supervision_steps.min() >= 2


def test_only_the_first_view_is_scored(data, monkeypatch):
    views = []
    batch = type(data).batch
    monkeypatch.setattr(
        type(data),
        "batch",
        lambda self, rows, v, **kw: (views.extend(v), batch(self, rows, v, **kw))[1],
    )
    run(data, named("arm_1_baseline"))
    assert set(views) == {evaluate_module.EVALUATION_VIEW}
    assert len(views) == len(data.table.rows("test"))


def test_loss_is_the_mean_over_examples_of_their_scored_slots(data):
    model = toy_model(named("arm_1_baseline")).eval()
    rows = data.table.rows("test")
    batch = data.batch(rows, np.zeros(len(rows), dtype=np.int64), with_clip=False)
    with torch.no_grad():
        x = model.encode(batch.images, None).x
        logp = model.step(model.initial_carry(x), x).logits.log_softmax(-1)
    by_hand = []
    for i in range(len(rows)):
        slots = [-logp[i, s, batch.targets[i, s]] for s in range(4) if batch.scored[i, s]]
        by_hand.append(float(sum(slots)) / len(slots))
    assert run(data, None, model=model).loss == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_flops_of_the_linear_probe_by_hand():
    """Linears alone: the reader's, if the grids differ merged 2 x 2, then the head."""
    model = toy_model(named("control_linear_probe"))
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert {m.in_features for m in linears} == {4 * SHAPE.clip_width, MODEL.core.dim}
    by_hand = sum(2 * SHAPE.num_slots * m.in_features * m.out_features for m in linears)
    assert flops_per_example(model) == by_hand


@pytest.mark.parametrize("arm", EVERY_ARM, ids=lambda arm: arm.name)
def test_counting_flops_leaves_the_model_as_it_was(data, arm):
    model, batch = toy_model(arm), toy_batch(data)
    before = {n: (p.requires_grad, p.clone()) for n, p in model.named_parameters()}
    assert flops_per_example(model) > 0
    assert flops_per_example(model) == flops_per_example(model)
    for name, p in model.named_parameters():
        assert p.requires_grad == before[name][0]
        assert torch.equal(p, before[name][1])
    clip = batch.clip if arm.has("clip") else None
    assert model.encode(batch.images, clip).x.requires_grad


def test_flops_grow_with_depth_and_planning():
    flops = {
        a: flops_per_example(toy_model(named(a)))
        for a in ("arm_3_n2n", "arm_4_trm", "arm_5_coconut")
    }
    assert flops["arm_3_n2n"] < flops["arm_4_trm"] < flops["arm_5_coconut"]
    once, twice, thrice = (
        flops_per_example(toy_model(TRM, trm__supervision_steps=n)) for n in (1, 2, 3)
    )
    assert twice - once == thrice - twice > 0


def test_parameters_by_hand():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 5, bias=False))
    model[1].requires_grad_(False)
    assert parameter_counts(model) == {"trainable": 8, "total": 18}
