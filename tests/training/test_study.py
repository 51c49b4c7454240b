"""Tables of a whole study, read from cells that training has left."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.stats.halting import halting_rows
from hybrid_pipeline.stats.policies import COLUMNS
from hybrid_pipeline.storage import Workspace
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell
from hybrid_pipeline.training.study import load_halting
from toy_study import HALTING, named, toy_spec


@pytest.fixture(scope="module")
def study(data, tmp_path_factory):
    storage = StorageConfig(root=str(tmp_path_factory.mktemp("study")))
    workspace = Workspace(storage.root)
    data.table.to_parquet(workspace.tables / "toy-table.parquet")
    cells = []
    for arm in ("arm_1_baseline", "arm_4_trm"):
        spec = toy_spec(named(arm), epochs=1)
        result = run_cell(spec, data, workspace.cells)
        short = result.model_copy(update={"length": 0.25, "key": "read by nobody"})
        cells.append(Cell(arm=arm, seed=0, results=(short, result)))
    return cells, {"toy": TaskHandle(task="toy", table="toy-table")}, storage


def test_halting_is_read_of_the_longest_training_of_arms_with_a_dqn(data, study):
    cells, task_data, storage = study
    table = load_halting(cells, task_data, storage, HALTING)
    assert table.columns.tolist() == COLUMNS
    assert set(table["arm"]) == {"arm_4_trm"}
    rows = data.table.rows("test")
    dqn = table[table["policy"] == "dqn"]
    assert dqn["example"].tolist() == data.table.example[rows].tolist()
    result = cells[1].at(1.0).finished[0]
    with np.load(Workspace(storage.root).cells / result.key / "answers.npz") as answers:
        assert dqn["steps"].tolist() == answers["halted_at"].tolist()
    means = table.groupby("policy")[["score", "steps"]].mean()
    for name, policy in result.policies.items():
        assert means.loc[name].tolist() == pytest.approx([policy.score, policy.mean_steps])
    assert means.loc["fixed_3", "score"] == pytest.approx(result.test_score)
    compared = {row.policy for row in halting_rows(table) if row.task == "toy"}
    assert compared == {"fixed_1", "fixed_2", "fixed_3", "random", "oracle"}


def test_a_study_without_a_dqn_has_an_empty_halting_table(study):
    cells, task_data, storage = study
    table = load_halting(cells[:1], task_data, storage, HALTING)
    assert isinstance(table, pd.DataFrame)
    assert table.empty
    assert table.columns.tolist() == COLUMNS
