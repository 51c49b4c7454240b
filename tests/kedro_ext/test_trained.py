"""A trained arm is found through its study, or the sentence says which ones there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cell_records import cell, done
from hybrid_pipeline.kedro_ext.trained import _handle, _result, load_arm
from hybrid_pipeline.training.result import Cell

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    cells = [
        cell("arm_1_baseline", 1, {"maze": 0.2, "sudoku": 0.3}),
        Cell(
            arm="arm_1_baseline", seed=0,
            results=(
                done("arm_1_baseline", 0, "maze", key="short", length=0.25),
                done("arm_1_baseline", 0, "maze", key="long", length=1.0),
            ),
        ),
    ]  # fmt: skip
    (tmp_path / "cells.json").write_text(json.dumps([c.model_dump(mode="json") for c in cells]))
    keys = {"maze": {"table": "t", "views": "v", "features": "f"}}
    (tmp_path / "report_inputs.json").write_text(json.dumps({"provenance": {"keys": keys}}))
    return tmp_path


def test_the_first_seed_at_the_longest_training_is_taken(outputs: Path) -> None:
    assert _result(outputs, "arm_1_baseline", "maze", None).key == "long"
    assert _result(outputs, "arm_1_baseline", "maze", 1).seed == 1
    assert _handle(outputs, "maze").views == "v"


def test_what_the_study_lacks_is_named_with_what_it_has(outputs: Path) -> None:
    with pytest.raises(ValueError, match="no arm_4_trm on maze; it has arm_1_baseline on maze"):
        _result(outputs, "arm_4_trm", "maze", None)
    with pytest.raises(ValueError, match="no arm_1_baseline on maze, seed 7"):
        _result(outputs, "arm_1_baseline", "maze", 7)


def test_without_a_study_the_way_to_one_is_said() -> None:
    never_run = {"training": {"lr": 0.00012345}}
    with pytest.raises(FileNotFoundError, match="run the ablation with these parameters"):
        load_arm("arm_4_trm", "maze_4x4", project=ROOT, params=never_run)
