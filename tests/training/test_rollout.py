"""Depth, transitions and rewards of one batch, followed by hand with a scripted policy."""

from __future__ import annotations

import pytest
import torch

from hybrid_pipeline.halting.actions import CONTINUE, EXPAND, HALT
from hybrid_pipeline.halting.replay import Transitions
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.training import rollout
from hybrid_pipeline.training.losses import example_losses
from hybrid_pipeline.training.rollout import HaltingPolicy, detach, supervised_steps
from toy_study import HALTING, changed, named, toy_batch, toy_model

COST, PENALTY = 0.01, 0.25
TRM, FULL = named("arm_4_trm"), named("arm_5_coconut")


class ScriptedAgent:
    """Acts by a script and keeps what it is told to remember."""

    def __init__(self, script: list[list[int]], *, warmup: bool = False) -> None:
        self.config = changed(HALTING, step_cost=COST)
        self.script, self.warmup = script, warmup
        self.stored: list[Transitions] = []
        self.legal: list[list[list[bool]]] = []

    def in_warmup(self, progress):
        return self.warmup

    def expansion_penalty(self, progress):
        return PENALTY

    def act(self, states, legal, progress, rng, greedy=False):
        self.legal.append(legal.tolist())
        actions = self.script[len(self.legal) - 1]
        assert len(actions) == len(states)
        return torch.tensor(actions)

    def remember(self, batch, learner_step):
        assert learner_step == 17
        self.stored.append(batch)

    def transitions(self) -> list[tuple[int, float, bool]]:
        return [
            (int(a), float(r), bool(d))
            for t in self.stored
            for a, r, d in zip(t.actions, t.rewards, t.done, strict=True)
        ]


class Follow:
    """Runs a batch and keeps scores, states and the rows that planned."""

    def __init__(self, data, arm, agent, monkeypatch, size=3) -> None:
        self.scores, self.states, self.expand, self.rows = [], [], [], []
        model = toy_model(arm)
        for name, kept in (("slot_accuracy", self.scores), ("state_features", self.states)):
            original = getattr(rollout, name)

            def wrapped(*args, original=original, kept=kept):
                kept.append(original(*args))
                return kept[-1]

            monkeypatch.setattr(rollout, name, wrapped)
        step = model.step

        def spied(carry, x, expand=None):
            self.rows.append(len(x))
            self.expand.append(None if expand is None else expand.tolist())
            return step(carry, x, expand)

        model.step = spied
        policy = HaltingPolicy(agent, model, rng=rng_for("t", 0), progress=0.5, learner_step=17)
        self.parts = list(
            supervised_steps(
                model, toy_batch(data, size), loss="cross_entropy", policy=policy, reencode=False
            )
        )
        self.policy = policy


def test_halt_continue_and_expand_by_hand(data, monkeypatch):
    agent = ScriptedAgent([[HALT, CONTINUE, EXPAND], [EXPAND, HALT]])
    run = Follow(data, FULL, agent, monkeypatch)
    assert run.rows == [3, 2, 1]  # halted rows drop out
    assert run.expand == [None, [False, True], [True]]  # the first step always plans
    first, second, third = run.scores
    expected = [
        (HALT, first[0].item(), True),
        (CONTINUE, -COST, False),
        (EXPAND, -COST - PENALTY, False),
        (HALT, second[1].item(), True),
        (EXPAND, -COST - PENALTY + third[0].item(), True),  # at the bound the halt is forced
    ]
    assert agent.transitions() == [(a, pytest.approx(r), d) for a, r, d in expected]
    went_on = agent.stored[1]
    assert torch.equal(went_on.states, run.states[0][1:])
    assert torch.equal(went_on.next_states, run.states[1])
    last = agent.stored[3]
    assert torch.equal(last.states, run.states[1][:1])
    assert torch.equal(last.next_states, run.states[2])


def test_expansions_are_counted_in_the_state(data, monkeypatch):
    agent = ScriptedAgent([[CONTINUE, EXPAND], [EXPAND, EXPAND]])
    run = Follow(data, FULL, agent, monkeypatch, size=2)
    assert [s[:, -1].tolist() for s in run.states] == [
        [0.0, 0.0],
        pytest.approx([0.0, 1 / 3]),
        pytest.approx([1 / 3, 2 / 3]),
    ]


def test_everyone_halting_ends_the_batch(data, monkeypatch):
    agent = ScriptedAgent([[HALT] * 3])
    run = Follow(data, TRM, agent, monkeypatch)
    assert run.rows == [3]
    assert len(run.parts) == 1
    assert [t[0] for t in agent.transitions()] == [HALT] * 3


def test_the_bound_is_not_asked(data, monkeypatch):
    agent = ScriptedAgent([[CONTINUE] * 3, [CONTINUE] * 3])
    run = Follow(data, TRM, agent, monkeypatch)
    assert run.rows == [3, 3, 3]
    assert len(agent.legal) == 2
    assert agent.legal[0] == [[True, True]] * 3
    assert run.expand == [None, None, None]
    assert sum(done for *_, done in agent.transitions()) == 3


@pytest.mark.parametrize("arm", [TRM, FULL], ids=lambda arm: arm.name)
def test_the_warm_up_keeps_full_depth_and_stores_halts(data, monkeypatch, arm):
    agent = ScriptedAgent([[HALT, CONTINUE, HALT], [HALT, HALT, CONTINUE]], warmup=True)
    run = Follow(data, arm, agent, monkeypatch)
    assert run.rows == [3, 3, 3]
    first, second, third = run.scores
    stored = agent.transitions()
    assert len(stored) == 2 + 3 + 2 + 3
    halts = [first[0], first[2], second[0], second[1]]
    assert [r for a, r, _ in stored if a == HALT] == pytest.approx([h.item() for h in halts])
    went_on, ended = stored[2:5], stored[7:10]
    assert all(a != HALT for a, *_ in went_on + ended)
    cost = {CONTINUE: COST, EXPAND: COST + PENALTY}
    assert [r for _, r, _ in went_on] == pytest.approx([-cost[a] for a, *_ in went_on])
    assert [r for _, r, _ in ended] == pytest.approx(
        [s - cost[a] for (a, *_), s in zip(ended, third.tolist(), strict=True)]
    )
    if arm is TRM:
        assert {a for a, *_ in went_on + ended} == {CONTINUE}


def test_no_gradient_reaches_the_model_from_what_is_stored(data, monkeypatch):
    agent = ScriptedAgent([[CONTINUE, EXPAND, HALT], [EXPAND, CONTINUE]])
    Follow(data, FULL, agent, monkeypatch)
    assert not any(c.requires_grad for t in agent.stored for c in t.columns().values())


@pytest.mark.parametrize("arm", [TRM, FULL], ids=lambda arm: arm.name)
def test_losses_without_a_policy_are_those_of_full_depth(data, arm):
    model, batch = toy_model(arm), toy_batch(data)
    parts = list(supervised_steps(model, batch, loss="cross_entropy", policy=None, reencode=False))
    x = model.encode(batch.images, batch.clip).x
    carry, by_hand = model.initial_carry(x), []
    for _ in range(model.max_steps):
        out = model.step(carry, x)
        loss = example_losses(out.logits, batch.targets, batch.scored).sum()
        by_hand.append(loss.item())
        carry = detach(out.carry)
    assert [p.value.item() for p in parts] == pytest.approx(by_hand)


def test_the_graph_is_cut_between_supervision_steps(data):
    model, batch = toy_model(TRM), toy_batch(data)
    steps = supervised_steps(model, batch, loss="cross_entropy", policy=None, reencode=True)
    for part in steps:  # a second backward through a freed graph would raise
        part.value.backward()


def test_diversity_is_weighed_per_row(data):
    batch = toy_batch(data)
    values = {}
    for weight in (0.0, 0.5):
        model = toy_model(FULL, coconut__diversity_weight=weight, trm__supervision_steps=1)
        (part,) = supervised_steps(model, batch, loss="cross_entropy", policy=None, reencode=False)
        x = model.encode(batch.images, batch.clip).x
        diversity = model.step(model.initial_carry(x), x).plan.diversity_loss()
        values[weight] = float(part.value)
    assert float(diversity) != 0
    assert values[0.5] - values[0.0] == pytest.approx(0.5 * len(batch) * float(diversity), rel=1e-3)


def test_metrics_of_each_component(data):
    def names(arm):
        part = next(
            supervised_steps(
                toy_model(named(arm)), toy_batch(data),
                loss="cross_entropy", policy=None, reencode=False,
            )
        )  # fmt: skip
        return set(part.metrics)

    assert names("arm_1_baseline") == set()
    assert names("arm_4_trm") == {"fusion/gate_mean"}
    assert names("arm_5_coconut") == {
        "fusion/gate_mean", "coconut/weight_entropy", "coconut/disagreement",
    }  # fmt: skip
