import pytest

from cell_records import cell, diverged
from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.training.gate import block_minutes, decide_block, look, seed_means
from hybrid_pipeline.training.result import Cell

FAST = EvaluationConfig(num_resamples=100)


ARMS = ("arm_1_baseline", "arm_2_clip", "control_random_tower")


def cells(num_blocks, *, gain=0.2, noise=0.001, seconds=60.0, lost=()):
    return [
        Cell(arm=arm, seed=seed, results=(diverged(arm, seed, "maze", cell_seconds=0.0),))
        if (arm, seed) in lost
        else cell(
            arm,
            seed,
            {"maze": 0.5 + gain * i + noise * ((seed * 7 + i * 3) % 5)},
            cell_seconds=seconds * (1 + seed),
        )
        for seed in range(num_blocks)
        for i, arm in enumerate(ARMS)
    ]


def gate(block, given, **ablation):
    return decide_block(block, given, AblationConfig(num_seeds=20, **ablation), FAST)


def test_without_budget_or_looks_every_block_runs():
    assert gate(4, cells(4))["run"]


def test_pilots_run_whatever_they_cost():
    for block in (0, 1):
        assert gate(block, cells(block, seconds=1e6), time_budget_minutes=1)["run"]


def test_the_plan_is_made_after_the_pilots_and_names_the_effect():
    found = gate(2, cells(2, noise=0.01), time_budget_minutes=60)
    assert found["run"]
    # blocks of 3 and 6 minutes: 51 left, 8 more of 6
    assert found["plan"]["num_blocks"] == 10
    assert "10 blocks fit into 60 minutes" in found["reason"]
    assert "80 % power" in found["reason"]
    assert "plan" not in gate(3, cells(3), time_budget_minutes=60)


def test_a_block_that_does_not_fit_does_not_start():
    found = gate(3, cells(3), time_budget_minutes=26.9)  # 3 + 6 + 9 minutes, 8.9 left
    assert not found["run"]
    assert gate(3, cells(3), time_budget_minutes=27.1)["run"]


def test_a_refusal_holds_for_all_later_blocks():
    given = [*cells(2), Cell(arm="arm_1_baseline", seed=2, not_run="why")]
    assert gate(3, given, time_budget_minutes=5e5) == {"run": False, "reason": "why"}


def test_looks():
    assert gate(2, cells(2), sequential=True)["run"]
    decided = gate(3, cells(3), sequential=True)
    assert not decided["run"]
    assert "every stage is decided after 3 seeds" in decided["reason"]
    open_ = gate(3, cells(3, gain=0.0, noise=0.05), sequential=True)
    assert open_["run"]
    assert open_["look"]["next_look"] == 5
    assert gate(4, cells(4, gain=0.0, noise=0.05), sequential=True)["run"]
    last = gate(12, cells(12, gain=0.0, noise=0.05), sequential=True)
    assert not last["run"]
    assert "no look is left" in last["reason"]
    assert not gate(13, cells(13, gain=0.0, noise=0.05), sequential=True)["run"]


def test_a_diverged_seed_leaves_the_stage_open():
    found = look(cells(3, lost={("arm_2_clip", 1)}), AblationConfig(sequential=True), FAST)
    assert found.undecided == ("arm_2_clip",)


def test_nothing_finished():
    everything = {(arm, seed) for arm in ARMS for seed in range(3)}
    given = cells(3, lost=everything)
    assert seed_means(given) is None
    assert look(given, AblationConfig(sequential=True), FAST).undecided == ("arm_2_clip",)
    assert "do not say" in gate(2, cells(2, lost=everything), time_budget_minutes=9)["reason"]


def test_minutes_by_block():
    assert block_minutes(cells(2)) == pytest.approx([3.0, 6.0])  # three cells of 1, of 2 minutes
    assert block_minutes(cells(2), 2) == pytest.approx([2.0, 4.0])  # the third cell starts last
    assert block_minutes(cells(2), 64) == pytest.approx([1.0, 2.0])


def test_the_longest_cell_of_a_block_starts_last():
    given = cells(1)
    given[0] = cell("arm_1_baseline", 0, {"maze": 0.5}, cell_seconds=240.0)
    assert block_minutes(given, 2) == pytest.approx([5.0])


@pytest.mark.parametrize(("slots", "allowed"), [(1, [False, False]), (2, [True, False])])
def test_a_budget_counts_the_cells_that_run_at_once(slots, allowed, monkeypatch):
    """Whatever the machine has: one GPU or a sequential runner trains one cell after the other."""
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    budget = AblationConfig(time_budget_minutes=60)
    given = [cell(c.arm, c.seed, {"maze": 0.5}, cell_seconds=600.0) for c in cells(3)]
    found = [
        decide_block(block, given[: 3 * block], budget, FAST, cells_at_once=slots)["run"]
        for block in (2, 3)
    ]
    assert found == allowed  # blocks of 30 minutes one after the other, of 20 two at a time


def at(cells, length, **fields):
    return [cell(c.arm, c.seed, {r.task: r.test_score for r in c.results},
                 length=length, **fields) for c in cells]  # fmt: skip


def test_every_length_costs_and_the_longest_is_judged():
    """The parts of a cell come one by one, as nodes leave them."""
    short = at(cells(2, gain=-0.2), 0.25, cell_seconds=20.0)
    whole = at(cells(2), 1.0, cell_seconds=60.0)
    given = [*short, *whole]
    assert block_minutes(given) == pytest.approx([4.0, 4.0])  # three of 20 seconds, three of 60
    assert block_minutes(given, 2) == pytest.approx([2 + 20 / 60] * 2)
    for parts in (given, [*whole, *short]):
        means = seed_means(parts)
        assert means.seeds == (0, 1)
        assert means.values["arm_2_clip", "maze"][0, 0] > means.values[ARMS[0], "maze"][0, 0]


def test_a_shorter_training_that_gave_up_leaves_the_longest_alone():
    lost = [Cell(arm=a, seed=0, results=(diverged(a, 0, "maze", length=0.25),)) for a in ARMS]
    given = [*lost, *cells(3)]
    assert look(given, AblationConfig(sequential=True), FAST).undecided == ()
