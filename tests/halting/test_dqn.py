"""The agent: targets by hand, exploration against its distribution, a toy chain, resumption."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, tensor
from torch.testing import assert_close

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.halting import (
    CONTINUE,
    EXPAND,
    HALT,
    DqnAgent,
    Transitions,
    explore,
    legal_actions,
    masked_argmax,
    td_target,
)
from hybrid_pipeline.models.q_head import QHead

STATE_DIM = 5


def make_agent(num_actions: int = 2, seed: int = 0, **changes) -> DqnAgent:
    return DqnAgent(HaltingConfig(**changes), STATE_DIM, num_actions, seed, QHead)


def some_transitions(rng: np.random.Generator, n: int = 64, num_actions: int = 2) -> Transitions:
    states = torch.from_numpy(rng.normal(size=(n, STATE_DIM))).float()
    return Transitions(
        states=states,
        actions=torch.from_numpy(rng.integers(0, num_actions, n)),
        rewards=torch.from_numpy(rng.random(n)).float(),
        next_states=torch.from_numpy(rng.normal(size=(n, STATE_DIM))).float(),
        done=torch.from_numpy(rng.random(n) < 0.5),
        next_legal=torch.ones(n, num_actions, dtype=torch.bool),
    )


def test_td_target_by_hand():
    target = td_target(
        reward=tensor([1.0, 0.0, -0.5]),
        next_q_online=tensor([[9.0, 9.0, 9.0], [2.0, 4.0, 1.0], [0.0, 1.0, 2.0]]),
        next_q_target=tensor([[7.0, 7.0, 7.0], [8.0, 3.0, 9.0], [5.0, 6.0, 7.0]]),
        done=tensor([True, False, False]),
        gamma=0.5,
    )
    # done: r. Online prefers action 1, which the target network values at 3 (its own maximum is 9):
    # 0 + .5 * 3. Online prefers action 2, valued at 7: -.5 + .5 * 7.
    assert_close(target, tensor([1.0, 1.5, 3.0]))


def test_td_target_never_chooses_an_illegal_action():
    target = td_target(
        reward=tensor([0.0]),
        next_q_online=tensor([[9.0, 1.0]]),
        next_q_target=tensor([[5.0, 2.0]]),
        done=tensor([False]),
        gamma=1.0,
        legal=tensor([[False, True]]),
    )
    assert_close(target, tensor([2.0]))


def test_equal_networks_reduce_double_dqn_to_dqn():
    q = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    target = td_target(torch.zeros(50), q, q, torch.zeros(50, dtype=torch.bool), 0.9)
    assert_close(target, 0.9 * q.max(dim=1).values)


def test_masked_argmax_takes_the_first_of_equals():
    assert masked_argmax(torch.zeros(1, 3), tensor([[False, True, True]])).item() == CONTINUE


def choices(agent: DqnAgent, progress: float, values: Tensor, legal: Tensor, seed: int) -> Tensor:
    """Actions of one decision for states of these values, under the agent's exploration."""
    n, num_actions = legal.shape
    draws = agent.schedule.draw(
        np.random.default_rng(seed), progress, decisions=1, batch=n, num_actions=num_actions
    )
    return explore(values.expand(n, -1), legal, draws.noise[0], draws.inverse_temperature[0])


def test_warm_up_behaviour_is_uniform_over_the_legal_actions():
    n = 6_000
    legal = tensor([[False, True, True]]).expand(n, 3)
    preference = tensor([0.0, 5.0, 0.0])  # that a random policy must not show
    counts = np.bincount(choices(make_agent(3), 0.1, preference, legal, 0), minlength=3)
    assert counts[HALT] == 0
    assert stats.binomtest(int(counts[EXPAND]), n, 0.5).pvalue > 0.01


@pytest.mark.parametrize("progress", [0.2, 0.6, 1.0])
def test_boltzmann_exploration_samples_the_softmax(progress):
    agent, n = make_agent(3), 6_000
    values = np.array([0.2, 0.0, -0.1])
    legal = torch.ones(n, 3, dtype=torch.bool)
    drawn = choices(agent, progress, torch.from_numpy(values).float(), legal, 1)
    temperature = {0.2: 1.0, 0.6: 0.55, 1.0: 0.1}[progress]
    assert agent.schedule.temperature(progress) == pytest.approx(temperature)
    expected = np.exp(values / temperature) / np.exp(values / temperature).sum()
    assert stats.chisquare(np.bincount(drawn, minlength=3), n * expected).pvalue > 0.01


def test_epsilon_exploration_is_random_with_probability_epsilon():
    agent = make_agent(2, exploration="epsilon", epsilon_start=0.8, epsilon_end=0.2)
    n = 6_000
    drawn = choices(agent, 0.6, tensor([0.0, 1.0]), torch.ones(n, 2, dtype=torch.bool), 2)
    assert agent.schedule.epsilon(0.6) == pytest.approx(0.5)
    assert stats.binomtest(int((drawn == HALT).sum()), n, 0.25).pvalue > 0.01


def test_the_same_stream_draws_the_same_exploration_and_micro_batches_share_it():
    agent = make_agent(3)

    def draw(batch=6):
        return agent.schedule.draw(
            np.random.default_rng(3), 0.5, decisions=2, batch=batch, num_actions=3
        )

    whole, again = draw(), draw()
    assert torch.equal(whole.noise, again.noise)
    parts = [whole.rows(slice(0, 4)), whole.rows(slice(4, 6))]
    assert torch.equal(torch.cat([p.noise for p in parts], dim=1), whole.noise)
    assert [p.inverse_temperature.shape for p in parts] == [(2, 4), (2, 2)]


def test_greedy_takes_the_best_legal_action():
    agent = make_agent(2)
    with torch.no_grad():
        agent.q.layers[-1].bias.copy_(tensor([0.0, 1e-3]))
    states = torch.zeros(2, STATE_DIM)
    assert agent.greedy(states, torch.ones(2, 2).bool()).tolist() == [CONTINUE] * 2
    assert agent.greedy(states, tensor([[True, False], [True, True]])).tolist() == [HALT, CONTINUE]


def learn(agent: DqnAgent, rng: np.random.Generator, step: int, progress: float) -> dict:
    """Plan and learn as an update of the learner does; metrics as numbers."""
    found = agent.learn(*agent.plan_learning(rng, step, progress))
    return {name: float(value) for name, value in found.items()} | agent.metrics(progress)


def test_one_update_by_hand():
    """One Adam step on the squared TD error, computed here with autograd and the formula."""
    rng = np.random.default_rng(0)
    agent = make_agent(batch_size=8, gamma=0.7, replay_capacity=16)
    with torch.no_grad():
        for parameter in [*agent.q.parameters(), *agent.target.parameters()]:
            parameter.copy_(torch.from_numpy(rng.normal(size=parameter.shape)))
    agent.replay.add(some_transitions(rng, 16), learner_step=0)
    q, before = copy.deepcopy(agent.q), copy.deepcopy(agent.target)
    batch = agent.replay.sample(8, np.random.default_rng(7), 0)

    bootstrap = before(batch.next_states)[torch.arange(8), q(batch.next_states).argmax(1)]
    wanted = (batch.rewards + 0.7 * bootstrap * ~batch.done).detach()
    loss = (q(batch.states)[torch.arange(8), batch.actions] - wanted).square().mean()
    loss.backward()
    metrics = learn(agent, np.random.default_rng(7), 0, progress=1.0)

    assert metrics["halting/td_loss"] == pytest.approx(loss.item(), rel=1e-5)
    old = zip(q.parameters(), before.parameters(), strict=True)
    new = zip(agent.q.parameters(), agent.target.parameters(), strict=True)
    for (p, t), (p_new, t_new) in zip(old, new, strict=True):
        adam = p - 1e-3 * p.grad / (p.grad.abs() + 1.5e-4)  # bias-corrected first step
        assert_close(p_new, adam, rtol=1e-4, atol=1e-6)
        assert_close(t_new, t + 0.02 * (p_new - t), rtol=1e-5, atol=1e-6)


def test_target_network_follows_every_period_and_not_between():
    agent = make_agent(target_tau=None, target_period=2)
    rng = np.random.default_rng(0)
    agent.replay.add(some_transitions(rng), 0)
    start = copy.deepcopy(agent.target.state_dict())
    learn(agent, rng, 0, 1.0)
    assert_close(agent.target.state_dict(), start, rtol=0, atol=0)
    learn(agent, rng, 0, 1.0)
    assert_close(agent.target.state_dict(), agent.q.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(("freeze", "updates"), [(True, 0), (False, 3)])
def test_warm_up_freezes_q_where_asked(freeze, updates):
    agent = make_agent(freeze_representation_during_warmup=freeze, updates_per_step=3)
    rng = np.random.default_rng(0)
    agent.replay.add(some_transitions(rng), 0)
    metrics = learn(agent, rng, 0, progress=0.1)
    assert agent.num_updates == metrics["halting/num_updates"] == updates
    assert ("halting/td_loss" in metrics) == (not freeze)
    learn(agent, rng, 0, progress=0.2)
    assert agent.num_updates == updates + 3


def test_no_update_without_young_transitions():
    agent = make_agent(exploration="epsilon", replay_max_age_steps=5)
    rng = np.random.default_rng(0)
    agent.replay.add(some_transitions(rng), 0)
    metrics = learn(agent, rng, 6, progress=0.6)
    assert agent.num_updates == 0
    assert metrics == {
        "halting/epsilon": pytest.approx(0.525),
        "halting/expansion_penalty": pytest.approx(0.0505),
        "halting/replay_size": 64,
        "halting/num_updates": 0,
    }


def test_no_gradient_reaches_the_representation():
    agent, rng = make_agent(freeze_representation_during_warmup=False), np.random.default_rng(0)
    batch = some_transitions(rng)
    representation = torch.nn.Linear(STATE_DIM, STATE_DIM)
    states = representation(batch.states)
    agent.greedy(states, torch.ones(64, 2).bool())
    agent.replay.add(Transitions(**{**batch.columns(), "states": states}), 0)
    learn(agent, rng, 0, 0.9)
    assert representation.weight.grad is None
    assert all(p.grad is not None for p in agent.q.parameters())
    assert not any(p.requires_grad for p in agent.target.parameters())


def test_q_stays_fp32_under_autocast():
    agent, rng = make_agent(), np.random.default_rng(0)
    agent.replay.add(some_transitions(rng), 0)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        learn(agent, rng, 0, 1.0)
        values = agent.q_values(torch.zeros(2, STATE_DIM, dtype=torch.bfloat16))
    assert agent.num_updates == 1
    assert values.dtype == torch.float32
    assert {p.dtype for p in agent.q.parameters()} == {torch.float32}


def test_the_seed_alone_sets_the_weights():
    torch.manual_seed(1)
    first = make_agent(seed=3)
    state = torch.get_rng_state()
    second, other = make_agent(seed=3), make_agent(seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.q.layers[0].weight, second.q.layers[0].weight)
    assert not torch.equal(first.q.layers[0].weight, other.q.layers[0].weight)


@pytest.mark.parametrize("target", [{}, {"target_tau": None, "target_period": 3}])
def test_resume_is_bit_exact(target, tmp_path):
    config = {"replay_capacity": 100, "batch_size": 32, **target}

    def go(agent: DqnAgent, steps: range) -> DqnAgent:
        for step in steps:
            rng = np.random.default_rng(step)
            agent.replay.add(some_transitions(rng, 30), step)
            learn(agent, rng, step, 0.9)
        return agent

    straight = go(make_agent(**config), range(10))
    half = go(make_agent(**config), range(5))
    torch.save(half.state_dict(), tmp_path / "agent.pt")
    resumed = make_agent(seed=9, **config)
    resumed.load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    go(resumed, range(5, 10))
    assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
    assert half.num_updates == 5  # a state dict is a copy


# --- A toy Markov chain with a known optimal policy -------------------------------------------

NUM_STEPS, STEP_COST, EXPANSION = 4, 0.1, 0.1
# Two kinds of example; what halting pays after each step. An easy one is right at once; a hard one
# gains with depth up to step 3. Expanding at step 1 makes a hard one easy.
PAYS = {"easy": [0.9, 0.9, 0.9, 0.9], "hard": [0.1, 0.3, 0.85, 0.87]}


def optimal_q() -> dict[tuple[str, int], list[float]]:
    """Backward induction with gamma 1: halting pays now, continuing costs, expanding costs more."""
    q: dict[tuple[str, int], list[float]] = {}
    for step in range(NUM_STEPS, 0, -1):
        for kind in ("easy", "hard"):
            halt = PAYS[kind][step - 1]
            if step == NUM_STEPS:
                q[kind, step] = [halt, float("nan"), float("nan")]
                continue

            def value(kind: str, step: int = step) -> float:
                return float(np.nanmax(q[kind, step + 1]))

            cost = STEP_COST + EXPANSION
            q[kind, step] = [halt, value(kind) - STEP_COST, value("easy") - cost]
    return q


def encode(kind: str, step: int) -> list[float]:
    return [float(kind == "hard"), *(float(step == s) for s in range(1, NUM_STEPS + 1))]


def legal_after(step: int) -> list[bool]:
    legal = legal_actions(step, min_steps=1, max_steps=NUM_STEPS, num_actions=3, batch_size=1)
    return legal[0].tolist()


def walk(agent: DqnAgent, rng: np.random.Generator, progress: float, n: int) -> Transitions:
    """n episodes of the chain under the agent's own exploration."""
    rows = []
    kinds = ["easy" if e else "hard" for e in rng.random(n) < 0.5]
    for step in range(1, NUM_STEPS + 1):
        if not kinds:
            break
        states = tensor([encode(kind, step) for kind in kinds])
        legal = tensor([legal_after(step)] * len(kinds))
        going = []
        draws = agent.schedule.draw(
            rng, progress, decisions=1, batch=len(kinds), num_actions=legal.shape[1]
        )
        actions = explore(
            agent.q_values(states), legal, draws.noise[0], draws.inverse_temperature[0]
        )
        for kind, action in zip(kinds, actions, strict=True):
            after, done = ("easy" if action == EXPAND else kind), bool(action == HALT)
            cost = STEP_COST + EXPANSION * bool(action == EXPAND)
            reward = PAYS[kind][step - 1] if done else -cost
            state, following = encode(kind, step), min(step + 1, NUM_STEPS)
            rows.append(
                (state, action, reward, encode(after, following), done, legal_after(following))
            )
            going += [] if done else [after]
        kinds = going
    return Transitions(*(tensor(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("exploration", ["boltzmann", "epsilon"])
def test_agent_solves_a_chain_with_a_known_optimal_policy(exploration):
    agent = make_agent(
        3, exploration=exploration, dqn_warmup_ratio=0.4, replay_max_age_steps=10_000, lr_dqn=3e-3
    )
    num_steps = 1_000
    for step in range(num_steps):
        rng, progress = np.random.default_rng(step), step / num_steps
        if step % 10 == 0:
            agent.replay.add(walk(agent, rng, progress, 16), step)
        learn(agent, rng, step, progress)
    exact = optimal_q()
    best = [int(np.nanargmax(exact["hard", step])) for step in (1, 2, 3, 4)]
    assert best == [EXPAND, CONTINUE, HALT, HALT]  # every action is best somewhere
    for (kind, step), values in exact.items():
        state, legal = tensor([encode(kind, step)]), tensor([legal_after(step)])
        learnt = agent.q_values(state)[0][legal[0]]
        assert_close(learnt, tensor(values)[legal[0]], atol=0.01, rtol=0)
        action = agent.greedy(state, legal)
        assert int(action) == int(np.nanargmax(values)), (kind, step)
