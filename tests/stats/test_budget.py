from itertools import pairwise

import pytest

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.stats.budget import (
    LADDER,
    decide,
    ladder_alpha,
    may_start_block,
    noisiest_stage,
    plan_budget,
    sequential_evaluation,
    undecided_steps,
)
from hybrid_pipeline.stats.power import mde80
from hybrid_pipeline.stats.results import Effect
from hybrid_pipeline.stats.scores import ScoreMatrix


@pytest.fixture
def pilots(make_table, chain):
    accuracies = {arm: 0.4 + 0.05 * i for i, arm in enumerate(chain)}
    table = make_table(accuracies, seeds=[0, 1], seed_sd=0.05)
    return ScoreMatrix.from_table(table, {})


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


def at_look(codes, num_seeds):
    stages = [
        Effect(kind="stage", arm=f"arm_{i}", reference="x", task="mean", num_seeds=num_seeds,
               num_examples=10, verdict=code, verdict_code=code)
        for i, code in enumerate(codes)
    ]  # fmt: skip
    return decide(num_seeds, undecided_steps(stages), LADDER)


def test_looks():
    going = at_look(["helps", "underpowered"], 3)
    assert (going.stop, going.next_look, going.undecided) == (False, 5, ("arm_1",))
    done = at_look(["helps", "no_meaningful_effect"], 5)
    assert (done.stop, done.next_look) == (True, None)
    assert "every stage is decided" in done.reason
    last = at_look(["helps", "underpowered"], 12)
    assert (last.stop, last.next_look) == (True, None)
    assert "no look is left" in last.reason
