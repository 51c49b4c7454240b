"""What stands behind a closed gate; how a gate decides is in tests/training/test_gate.py."""

from __future__ import annotations

from cell_records import cell
from hybrid_pipeline.arms import chain
from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.kedro_ext.devices import cells_at_once
from hybrid_pipeline.pipelines.ablation.nodes import collect_arm, open_block
from hybrid_pipeline.pipelines.hybrid_training.nodes import train_gated_cell
from hybrid_pipeline.training.result import Cell


def blocks(number: int, minutes: float) -> list[Cell]:
    """Blocks of five arms, a cell of each taking so many minutes."""
    return [
        cell(
            arm.name,
            seed,
            {"maze": 0.1 * i + 0.01 * ((seed + i) % 3)},
            cell_seconds=60 * minutes,
        )
        for seed in range(number)
        for i, arm in enumerate(chain()[:5])
    ]


def test_a_budget_opens_the_pilots_and_then_what_fits(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 16)  # a sequential runner uses one
    budget, levels = AblationConfig(time_budget_minutes=16.0), EvaluationConfig()
    opened = [open_block(b, budget, levels, *blocks(b, 1.0))["run"] for b in range(5)]
    assert opened == [True, True, True, False, False]  # five minutes a block
    plan = open_block(2, budget, levels, *blocks(2, 1.0))
    assert plan["reason"].startswith("Block 3 of seeds: 2 pilot blocks took 10.0 minutes")
    assert "with 80 % power" in plan["reason"]


def test_a_budget_counts_what_the_runner_runs_at_once():
    budget, levels = AblationConfig(time_budget_minutes=16.0), EvaluationConfig()
    slots = cells_at_once.set(5)
    try:
        opened = [open_block(b, budget, levels, *blocks(b, 5.0))["run"] for b in range(5)]
    finally:
        cells_at_once.reset(slots)
    assert opened == [True, True, True, False, False]  # five cells of five minutes side by side


def test_a_cell_behind_a_closed_gate_trains_nothing():
    gate = {"run": False, "reason": "no time"}
    found = train_gated_cell(("arm_2_clip", 7, 1.0), gate, {}, None, None, None, None)
    assert found == Cell(arm="arm_2_clip", seed=7, not_run="no time")
    assert found.status == "not_run"
    again = open_block(8, AblationConfig(sequential=True), EvaluationConfig(), found)
    assert (again["run"], again["reason"]) == (False, "no time")


def test_the_collector_sorts_by_seed():
    parts = [cell("a", seed, {"maze": 0.5}, length=length)
             for seed, length in ((2, 1.0), (0, 1.0), (2, 0.25), (1, 1.0), (0, 0.25))]  # fmt: skip
    found = collect_arm(*parts)
    assert [c.seed for c in found] == [0, 1, 2]
    assert [[r.length for r in c.results] for c in found] == [[0.25, 1.0], [1.0], [0.25, 1.0]]
