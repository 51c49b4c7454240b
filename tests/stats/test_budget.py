from itertools import pairwise

import numpy as np
import pytest

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.stats.budget import (
    LADDER,
    block_order,
    decide_look,
    ladder_alpha,
    may_start_block,
    noisiest_stage,
    plan_budget,
    sequential_evaluation,
)
from hybrid_pipeline.stats.power import mde80
from hybrid_pipeline.stats.results import Effect, StudyResults
from hybrid_pipeline.stats.scores import ScoreMatrix


@pytest.fixture
def pilots(make_table, chain):
    accuracies = {arm: 0.4 + 0.05 * i for i, arm in enumerate(chain)}
    table = make_table(accuracies, seeds=[0, 1], seed_sd=0.05)
    return ScoreMatrix.from_table(table, {})


def test_block_order_is_a_reproducible_shuffle(chain):
    orders = [block_order(chain, seed, 0) for seed in range(6)]
    assert all(sorted(order) == sorted(chain) for order in orders)
    assert len(set(orders)) > 1
    assert block_order(chain, 3, 0) == orders[3]
    assert block_order(chain, 3, 1) != orders[3] or block_order(chain, 4, 1) != orders[4]


def test_plan_fits_whole_blocks(pilots, chain):
    noise = noisiest_stage(pilots, chain)
    plan = plan_budget([10.0, 12.0], 60.0, noise)
    assert plan.num_blocks == 2 + 3  # 38 minutes left, 12 a block
    assert plan.minutes_spent == 22.0
    assert plan.minutes_spent + 3 * plan.minutes_per_block <= 60.0
    assert "5 blocks fit into 60 minutes" in plan.sentence
    assert "80 % power" in plan.sentence
    assert plan.mde80 is not None
    assert plan.mde80 >= mde80(noise.paired_sd, 5) * (1 - 1e-6)
    assert plan.mde80_upper > plan.mde80


def test_plan_beyond_the_budget_and_without_noise():
    plan = plan_budget([10.0, 12.0], 20.0, None)
    assert plan.num_blocks == 2
    assert "not evaluable" in plan.sentence
    assert plan.mde80 is None
    assert "do not say" in plan_budget([1.0, 1.0], 100.0, None).sentence
    assert plan_budget([1.0, 1.0], 1000.0, None).num_blocks == 64


def test_the_noisiest_stage_is_found(pilots, chain):
    noise = noisiest_stage(pilots, chain)
    scores = [pilots.values[arm, "maze"] for arm in chain]
    d = [new - old for old, new in pairwise(scores)]
    assert noise.paired_sd == pytest.approx(max(x.mean(axis=1).std(ddof=1) for x in d), rel=0.2)
    assert noisiest_stage(pilots, chain[:1]) is None
    assert noisiest_stage(pilots, ["absent", chain[0]]) is None


def test_no_block_starts_that_would_not_end():
    assert may_start_block([], 10.0, 0.0).start
    assert may_start_block([4.0, 5.0], 10.0, 5.0).start
    refusal = may_start_block([4.0, 5.0], 10.0, 5.1)
    assert not refusal.start
    assert refusal.reason == "4.9 minutes are left and a block took up to 5.0."
    assert not may_start_block([], 10.0, 11.0).start


def test_ladder_alpha():
    assert ladder_alpha(LADDER) == 0.0158
    assert ladder_alpha((3, 6)) == 0.025
    assert ladder_alpha(()) == 0.05
    assert sequential_evaluation(EvaluationConfig(), LADDER).level == pytest.approx(0.9842)


def results(codes, num_seeds):
    effects = tuple(
        Effect(kind="stage", step=f"arm_{i}", against="x", task="mean", num_seeds=num_seeds,
               num_examples=10, verdict=code, verdict_code=code)
        for i, code in enumerate(codes)
    )  # fmt: skip
    return StudyResults(headline="", arms=("x",), tasks=("t",), metrics={"t": "correct"},
                        seeds=tuple(range(num_seeds)), delta=0.01, alpha=0.0158,
                        effects=effects)  # fmt: skip


def test_looks():
    going = decide_look(results(["helps", "underpowered"], 3), LADDER)
    assert (going.stop, going.next_look, going.undecided) == (False, 5, ("arm_1",))
    done = decide_look(results(["helps", "no_meaningful_effect"], 5), LADDER)
    assert (done.stop, done.next_look) == (True, None)
    assert "every stage is decided" in done.reason
    last = decide_look(results(["helps", "underpowered"], 12), LADDER)
    assert (last.stop, last.next_look) == (True, None)
    assert "no look is left" in last.reason


def test_randomised_order_is_balanced():
    first = [block_order(("a", "b"), seed, 0)[0] for seed in range(200)]
    assert 70 < np.sum(np.array(first) == "a") < 130
