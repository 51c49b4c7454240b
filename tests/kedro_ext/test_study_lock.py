"""One run of a study at a time, and what killed runs left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hybrid_pipeline.kedro_ext.project_parameters import ProjectState, store_state
from hybrid_pipeline.kedro_ext.study_lock import LockHooks
from hybrid_pipeline.storage import LockedError

TRAINS = SimpleNamespace(nodes=[SimpleNamespace(tags={"cell"})])
READS = SimpleNamespace(nodes=[SimpleNamespace(tags={"report"})])
STATE = ProjectState(Path(), None, {"tasks": {"digits": {"num_train": 8}}})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ProjectState]:
    state = replace(STATE, project_path=tmp_path)
    store_state(state)
    yield state
    store_state(None)


def test_the_second_run_of_a_study_says_that_the_first_is_at_work(state: ProjectState) -> None:
    first, second = LockHooks(), LockHooks()
    first.before_pipeline_run(TRAINS)
    said = rf"already at work in .*data \(process {os.getpid()} on .*\): wait for its end"
    with pytest.raises(LockedError, match=said):
        second.before_pipeline_run(TRAINS)
    second.before_pipeline_run(READS)  # making a report is no training
    store_state(replace(state, parameters={"tasks": {"digits": {"num_train": 9}}}))
    second.before_pipeline_run(TRAINS)  # another study
    second.on_pipeline_error()
    store_state(state)
    first.after_pipeline_run()
    second.before_pipeline_run(TRAINS)
    second.before_pipeline_run(TRAINS)  # one process, one run after another
    second.after_pipeline_run()


def test_a_run_sweeps_what_killed_runs_left(state: ProjectState) -> None:
    left = state.data_dir / "06_models" / "cells" / "abc" / ".updates.parquet.k53qf38d"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    os.utime(left, (0, 0))
    LockHooks().before_pipeline_run(READS)
    assert not left.exists()
