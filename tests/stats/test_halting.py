"""The halting comparison against hand values, plain loops and the interval it is built on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.stats.halting import halting_rows
from hybrid_pipeline.stats.intervals import two_component
from hybrid_pipeline.stats.policies import policy_frame

SCORE = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])


def one_cell(score=SCORE, halted_at=(1, 2, 1, 1), seed=0) -> pd.DataFrame:
    at = np.array(halted_at)
    halted = score[np.arange(len(score)), at - 1]
    rng = np.random.default_rng(seed)
    return policy_frame(score, halted, at, step_cost=0.01, min_steps=1, rng=rng)


def study(num_seeds=3, tasks=("maze", "sudoku"), arm="arm_4_trm") -> pd.DataFrame:
    rng, cells = np.random.default_rng(3), []
    for task in tasks:
        for seed in range(num_seeds):
            score = (rng.random((20, 3)) < [0.5, 0.6, 0.7]).astype(float)
            cell = one_cell(score, rng.integers(1, 4, 20), seed)
            cells.append(cell.rename(columns={"row": "example"}).assign(
                arm=arm, seed=seed, task=task))  # fmt: skip
    return pd.concat(cells, ignore_index=True)


def test_every_policy_by_hand():
    frame = one_cell()
    assert frame["policy"].unique().tolist() == ["dqn", "fixed_1", "fixed_2", "random", "oracle"]
    means = frame.groupby("policy")[["score", "steps"]].mean()
    assert means.loc["dqn"].tolist() == [0.75, 1.25]
    assert means.loc["fixed_1"].tolist() == [0.5, 1.0]
    assert means.loc["fixed_2"].tolist() == [0.5, 2.0]
    assert means.loc["oracle"].tolist() == [0.75, 1.25]
    drawn = frame[frame["policy"] == "random"]
    assert drawn["score"].tolist() == SCORE[np.arange(4), drawn["steps"] - 1].tolist()


def test_rows_hold_the_points_kept_and_the_steps_saved():
    table = study(tasks=("maze",))
    rows = {(r.task, r.policy): r for r in halting_rows(table)}
    assert [p for t, p in rows if t == "maze"] == [
        "fixed_1", "fixed_2", "fixed_3", "random", "oracle",
    ]  # fmt: skip
    row = rows["maze", "fixed_3"]

    def wide(policy, column):
        part = table[table["policy"] == policy]
        return part.pivot(index="seed", columns="example", values=column).to_numpy()

    kept = wide("dqn", "score") - wide("fixed_3", "score")
    saved = wide("fixed_3", "steps") - wide("dqn", "steps")
    assert row.kept == two_component([kept]).interval(0.95)
    assert row.saved == two_component([saved.astype(float)]).interval(0.95)
    assert row.kept.estimate == pytest.approx(row.dqn_score - row.score)
    assert row.saved.estimate == pytest.approx(3 - row.dqn_steps)
    assert (row.num_seeds, row.num_examples) == (3, 20)
    assert rows["mean", "fixed_3"].kept == row.kept  # the mean over one task


def test_the_mean_over_tasks_is_one_of_equal_weights_over_common_seeds():
    table = study()
    short = table[~((table["task"] == "maze") & (table["seed"] == 2))]
    for given, seeds in ((table, 3), (short, 2)):
        rows = {(r.task, r.policy): r for r in halting_rows(given)}
        mean = rows["mean", "random"]
        assert mean.num_seeds == seeds
        assert mean.num_examples == 40
        both = given[given["seed"].isin(range(seeds)) & (given["policy"] == "dqn")]
        assert mean.dqn_score == pytest.approx(both.groupby("task")["score"].mean().mean())
        assert (mean.kept is None) == (seeds < 3)
    assert rows["sudoku", "random"].num_seeds == 3


def test_only_the_oracle_reads_labels_and_it_bounds_every_fixed_depth():
    rows = [r for r in halting_rows(study()) if r.task == "mean"]
    assert [r.policy for r in rows if r.reads_labels] == ["oracle"]
    oracle = next(r for r in rows if r.reads_labels)
    assert all(oracle.score >= r.score for r in rows)


def test_arms_of_different_depth_stand_beside_each_other():
    shallow = study(arm="a")
    deep = study(arm="b")
    shallow = shallow[shallow["policy"] != "fixed_3"]
    rows = halting_rows(pd.concat([shallow, deep]))
    found = {arm: [r.policy for r in rows if (r.arm, r.task) == (arm, "maze")] for arm in "ab"}
    assert found["a"] == ["fixed_1", "fixed_2", "random", "oracle"]
    assert found["b"] == ["fixed_1", "fixed_2", "fixed_3", "random", "oracle"]


def test_an_unusable_table_is_refused():
    table = study()
    with pytest.raises(ValueError, match="lacks the columns steps"):
        halting_rows(table.drop(columns="steps"))
    with pytest.raises(ValueError, match="a row twice"):
        halting_rows(pd.concat([table, table.iloc[:1]]))
    with pytest.raises(ValueError, match="same examples for every seed"):
        halting_rows(table.drop(index=table.index[5]))
