"""One run of a study at a time, and what killed runs left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hybrid_pipeline.kedro_ext.project_parameters import ProjectState, store_state
from hybrid_pipeline.kedro_ext.study_lock import LockHooks
from hybrid_pipeline.storage import LockedError


def pipeline(tag: str, *outputs: str) -> SimpleNamespace:
    return SimpleNamespace(nodes=[SimpleNamespace(tags={tag})], all_outputs=lambda: set(outputs))


TRAINS = pipeline("cell", "arm_1_baseline.seed_0.cell_100_percent")
DRAWS = pipeline("rendering", "data.digits.table", "task_data")
READS = pipeline("report", "reporting.html")
STATE = ProjectState(Path(), None, {"tasks": {"digits": {"num_train": 8}}})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ProjectState]:
    state = replace(STATE, project_path=tmp_path)
    store_state(state)
    yield state
    store_state(None)


@pytest.mark.parametrize("work", [TRAINS, DRAWS])
def test_the_second_run_says_that_the_first_is_at_work(state: ProjectState, work: Any) -> None:
    first, second = LockHooks(), LockHooks()
    first.before_pipeline_run(TRAINS)
    said = rf"another run is at work in .*data \(process {os.getpid()} on .*\): wait for its end"
    with pytest.raises(LockedError, match=said):
        second.before_pipeline_run(work)
    second.before_pipeline_run(READS)  # making a report is no training
    store_state(replace(state, parameters={"tasks": {"digits": {"num_train": 9}}}))
    with pytest.raises(LockedError, match=said):  # another study names its data in the same files
        second.before_pipeline_run(work)
    store_state(state)
    first.after_pipeline_run()
    second.before_pipeline_run(work)
    second.before_pipeline_run(work)  # one process, one run after another
    second.after_pipeline_run()


def test_a_run_sweeps_what_killed_runs_left(state: ProjectState) -> None:
    left = state.data_dir / "06_models" / "cells" / "abc" / ".updates.parquet.k53qf38d"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    os.utime(left, (0, 0))
    LockHooks().before_pipeline_run(READS)
    assert not left.exists()
