"""What halting does and whether paths differ, drawn from the rows and from nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.report.assemble import _curves
from hybrid_pipeline.report.halting import halting_by_depth, halting_intervals
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.path_figure import paths_over_training
from hybrid_pipeline.report.render import render_html
from hybrid_pipeline.stats.halting import halting_rows
from hybrid_pipeline.stats.policies import policy_frame


@pytest.fixture(scope="module")
def halting_inputs(default_inputs: ReportInputs) -> ReportInputs:
    """Three seeds of forty examples and three steps: 50, 75 and 100 % right, DQN halts at 2."""
    frames = []
    for seed in range(3):
        index = np.arange(40)
        score = np.stack([index % 2 == 0, index % 4 != 0, index >= 0], axis=1).astype(float)
        halted_at = np.full(40, 2)
        frame = policy_frame(
            score, score[:, 1], halted_at, step_cost=0.0, min_steps=1,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        frame = frame.rename(columns={"row": "example"})
        frames.append(frame.assign(arm="arm_4_trm", seed=seed, task="maze_4x4"))
    rows = halting_rows(pd.concat(frames, ignore_index=True))
    return default_inputs.model_copy(update={"halting": rows})


def test_accuracy_by_depth_and_the_point_of_the_dqn(halting_inputs: ReportInputs) -> None:
    figure = halting_by_depth(halting_inputs)
    assert figure is not None
    first = {t.name: t for t in figure.data if t.showlegend}
    line, dqn = first["4 + TRM, fixed depth"], first["4 + TRM, DQN"]
    assert list(line.x) == [1, 2, 3]
    assert list(line.y) == pytest.approx([50, 75, 100])
    assert (dqn.x[0], dqn.y[0]) == pytest.approx((2, 75))
    full = next(r for r in halting_inputs.halting if r.policy == "fixed_3")
    assert full.kept is not None
    assert dqn.y[0] + dqn.error_y.array[0] == pytest.approx(100 * (1 + full.kept.high))
    assert first["4 + TRM, oracle, reads the label"].y[0] == pytest.approx(100)


def test_points_kept_and_steps_saved_are_in_the_table(halting_inputs: ReportInputs) -> None:
    table = halting_intervals(halting_inputs)
    assert len(table.rows) == len(halting_inputs.halting)
    row = next(r for r in table.rows if r[2].text == "fixed, 3 steps")
    assert [c.text for c in row[3:7]] == ["100.0 %", "3.00", "75.0 %", "2.00"]
    assert row[7].text == "\N{MINUS SIGN}25.0"
    assert row[8].text == "1.00"
    page = render_html(halting_inputs)
    assert 'id="chart-halting_by_depth"' in page
    assert 'id="table-halting-intervals"' in page


def test_without_a_dqn_there_is_nothing_to_draw(default_inputs: ReportInputs) -> None:
    assert halting_by_depth(default_inputs) is None
    assert halting_intervals(default_inputs).rows == []


def test_paths_over_training_come_from_the_validations(default_inputs: ReportInputs) -> None:
    validations = pd.DataFrame(
        {
            "arm": ["arm_4_trm"] * 2 + ["arm_5_coconut"] * 2, "seed": 0, "task": "maze_4x4",
            "step": [10, 20, 10, 20], "score": [0.1, 0.2, 0.3, 0.4],
            "coconut/disagreement": [np.nan, np.nan, 0.25, 0.5],
            "coconut/weight_entropy": [np.nan, np.nan, 1.0, 0.5],
        }
    )  # fmt: skip
    updates = pd.DataFrame(
        {"arm": arm, "seed": 0, "task": "maze_4x4", "step": [1, 20], "loss": [2.0, 1.0]}
        for arm in ("arm_4_trm", "arm_5_coconut")
    ).explode(["step", "loss"])
    curves = tuple(_curves(validations, updates))
    assert [c.disagreement for c in curves if c.arm == "arm_4_trm"] == [()]
    inputs = default_inputs.model_copy(update={"curves": curves})
    figure = paths_over_training(inputs)
    assert figure is not None
    above, below = figure.data
    assert (list(above.x), list(above.y)) == ([10, 20], pytest.approx([25, 50]))
    assert list(below.y) == [1.0, 0.5]
    assert paths_over_training(default_inputs) is None
