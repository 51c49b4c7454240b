"""A report is about one study: cells of other parameters, data or code are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cell_records import cell, done
from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.report import records as module
from hybrid_pipeline.report.records import ForeignCellsError, check_records
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.learner import Learner
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.result import Cell
from hybrid_pipeline.training.spec import CellSpec
from toy_study import HALTING, MODEL, TRAINING, changed, named, toy_data

HANDLES = {"toy": TaskHandle(task="toy", table="t", views="v")}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskData:
    made = toy_data(tmp_path)
    monkeypatch.setattr(module, "open_task_data", lambda *_, **__: made)
    return made


def _record(data: TaskData, arm: str, seed: int, **settings: Any) -> Cell:
    training = changed(TRAINING, **settings)
    key = CellSpec(named(arm), seed, MODEL, training, HALTING).key(data)
    return cell(arm, seed, {"toy": 0.5}, key=key)


def _check(records: list[Cell], **settings: Any) -> None:
    learner = Learner(changed(TRAINING, **settings), HALTING, MODEL)
    check_records(records, HANDLES, learner, StorageConfig())


def test_cells_of_the_study_pass(data: TaskData) -> None:
    own = [_record(data, arm, seed) for arm in ("arm_1_baseline", "arm_4_trm") for seed in (0, 1)]
    refused = Cell(arm="arm_4_trm", seed=2, not_run="no time left")
    _check([*own, refused], checkpoint_interval_steps=7)  # what changes no number is in no key


def test_an_arm_of_another_rate_is_named(data: TaskData) -> None:
    mixed = [
        _record(data, "arm_1_baseline", 0),
        _record(data, "arm_4_trm", 0, lr=1e-2),
        _record(data, "arm_4_trm", 1, lr=1e-2),
        _record(data, "arm_5_coconut", 1, epochs=3),
    ]
    with pytest.raises(ForeignCellsError) as refusal:
        _check(mixed)
    assert str(refusal.value).startswith(
        "the results of arm_4_trm (seeds 0, 1), arm_5_coconut (seed 1) were made under other"
    )
    with pytest.raises(ForeignCellsError, match=r"arm_1_baseline \(seed 0\)"):
        _check(mixed[:1], lr=1e-2)


def test_a_cell_that_lacks_a_task_or_has_another_is_foreign(data: TaskData) -> None:
    own = _record(data, "arm_1_baseline", 0)
    with pytest.raises(ForeignCellsError, match="arm_1_baseline"):
        _check([own.model_copy(update={"results": ()})])
    more = (*own.results, done("arm_1_baseline", 0, "gone", key="k"))
    with pytest.raises(ForeignCellsError, match="arm_1_baseline"):
        _check([own.model_copy(update={"results": more})])


def test_a_shorter_training_has_the_key_of_a_study_of_that_many_epochs(data: TaskData) -> None:
    quarter = _record(data, "arm_1_baseline", 0, epochs=TRAINING.epochs / 4)
    (short,) = quarter.results
    own = _record(data, "arm_1_baseline", 0)
    short = short.model_copy(update={"length": 0.25})
    _check([own.model_copy(update={"results": (short, *own.results)})])
    with pytest.raises(ForeignCellsError, match="arm_1_baseline"):
        _check([quarter])
