"""The study in MLflow against a real sqlite store: reopened, never logged twice, never fatal."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from hybrid_pipeline.kedro_ext import mlflow_store, tracking
from hybrid_pipeline.kedro_ext.mlflow_store import compare_url, flatten, make_client, ui_command
from hybrid_pipeline.kedro_ext.progress import CellName, read_progress
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.kedro_ext.tracking import (
    CellRecord,
    CellTracker,
    close_study,
    log_study,
    open_study,
    study_key,
)
from hybrid_pipeline.training.tracker import NullTracker, Tracker, current_tracker, use_tracker

PARAMETERS: dict[str, Any] = {
    "tasks": {"digits": {"num_train": 8}},
    "training": {"lr": 1e-3, "arm": "arm_5_coconut"},
    "ablation": {"num_seeds": 2},
}
CELL = CellName("train_arm_1_0", True, "arm_1_baseline", "0", "digits")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectState:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_store, "_warned", False)
    return ProjectState(tmp_path, None, PARAMETERS, {"tracking_uri": "sqlite:///mlflow.db"})


def _train(study: dict[str, str] | None, steps: range, *, close: bool = True) -> CellTracker:
    tracker = CellTracker(CELL, study, None)
    tracker.begin(key="k1", params={"training": {"lr": 1e-3}}, tags={"tower": "bundled"})
    for step in steps:
        tracker.log_metrics({"train/loss": 1.0 / (step + 1), "gate (mean) %": 0.5}, step)
    if close:
        tracker.close()
    return tracker


def test_a_study_is_one_parent_with_children(state: ProjectState) -> None:
    study = open_study(state)
    assert study is not None
    _train(study, range(3))
    close_study(study, failed=False)

    client = make_client(study["tracking_uri"])
    parent = client.get_run(study["parent_run_id"])
    (child,) = mlflow_store.find_runs(client, study["experiment_id"], kind="cell")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    wanted = {"arm": "arm_1_baseline", "seed": "0", "task": "digits", "task_set": "digits"}
    assert {name: child.data.tags[name] for name in wanted} == wanted
    assert child.data.tags["tower"] == "bundled"
    assert child.data.params == {"training.lr": "0.001"}
    assert child.data.metrics["train/loss"] == pytest.approx(1 / 3)
    assert child.data.metrics["gate _mean_ _"] == 0.5
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.params["training.lr"] == "0.001"
    assert (state.project_path / "mlflow.db").exists()
    assert client.get_experiment(study["experiment_id"]).artifact_location.startswith(
        (state.project_path / "mlartifacts").as_uri()
    )


def test_an_interrupted_cell_goes_on_in_its_run_without_repeating(state: ProjectState) -> None:
    study = open_study(state)
    assert study is not None
    killed = _train(study, range(5), close=False)
    assert killed._writer is not None
    killed._writer.close()  # what was sent before kill -9; the run stays RUNNING

    again = open_study(state)
    assert again == study
    tracker = CellTracker(CELL, again, None)
    params = {"training": {"lr": 2e-3}, "later": 1}  # a changed value must not be logged again
    tracker.begin(key="k1", params=params, tags={"tower": "bundled"})
    for step in range(3, 8):  # the last checkpoint was at step 3
        tracker.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
    tracker.close()

    client = make_client(study["tracking_uri"])
    (child,) = mlflow_store.find_runs(client, study["experiment_id"], kind="cell")
    steps = [m.step for m in client.get_metric_history(child.info.run_id, "train/loss")]
    assert sorted(steps) == list(range(8))
    assert child.data.params == {"training.lr": "0.001", "later": "1"}
    assert child.info.status == "FINISHED"


def test_a_node_with_two_tasks_gets_a_run_for_each(state: ProjectState) -> None:
    study = open_study(state)
    assert study is not None
    tracker = CellTracker(CellName("n", True, "arm_1_baseline", "0"), study, None)
    for task in ("sudoku", "maze"):
        tracker.begin(key=f"key_{task}", params={}, tags={"task": task})
        tracker.log_metrics({"train/loss": 1.0}, 1)
    tracker.close(failed=True)
    client = make_client(study["tracking_uri"])
    found = mlflow_store.find_runs(client, study["experiment_id"], kind="cell")
    assert {r.data.tags["task"]: r.info.status for r in found} == {
        "sudoku": "FINISHED",
        "maze": "FAILED",
    }


def test_progress_covers_all_tasks_of_a_node(tmp_path: Path) -> None:
    tracker = CellTracker(CellName("n", True, "a", "0"), None, tmp_path, num_tasks=3)

    def share() -> float:
        tracker._file.update(now=True)
        return read_progress(tmp_path)[0].share

    tracker.progress(1, 1, 0.5, "cached")
    assert share() == pytest.approx(1 / 3)
    tracker.begin(key="k", params={}, tags={"task": "maze"})
    tracker.progress(5, 10, 0.25)
    assert share() == pytest.approx(1 / 3 + 1 / 6)
    tracker.progress(1, 1, 0.5, "done")
    assert share() == pytest.approx(2 / 3)
    tracker.begin(key="l", params={}, tags={"task": "sudoku"})
    tracker.progress(10, 10)
    assert share() == 1.0
    assert read_progress(tmp_path)[0].scores == {"maze": 0.5}


def _histories(study: dict[str, str]) -> dict[str, list[tuple[str, int, float]]]:
    client = make_client(study["tracking_uri"])
    runs = mlflow_store.find_runs(client, study["experiment_id"])
    return {
        run.info.run_id: sorted(
            (m.key, m.step, m.value)
            for name in run.data.metrics
            for m in client.get_metric_history(run.info.run_id, name)
        )
        for run in runs
    }


def test_a_rerun_with_nothing_changed_adds_nothing(state: ProjectState, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# Report")
    records = [
        CellRecord("k1", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5}),
        CellRecord("k2", "arm_1_baseline", 1, "digits", {"final/test_score": 0.7}),
    ]

    def finish() -> tuple[dict[str, str], str]:
        study = open_study(state)
        assert study is not None
        link = log_study(study, records, [report], {"mean/arm_1_baseline/digits/test_score": 0.6})
        close_study(study, failed=False)
        return study, link

    _train(open_study(state), range(3))
    study, link = finish()
    before = _histories(study)
    assert (study, link) == finish()
    assert _histories(study) == before
    assert len(before) == 3  # the parent, the trained cell, the one found under its key
    assert [e[0] for e in before[study["parent_run_id"]]] == [
        "mean/arm_1_baseline/digits/test_score"
    ]
    client = make_client(study["tracking_uri"])
    assert [a.path for a in client.list_artifacts(study["parent_run_id"])] == ["report.md"]


def test_a_changed_study_shows_the_cells_that_stayed(state: ProjectState) -> None:
    first = open_study(state)
    _train(first, range(4))
    halting = {**PARAMETERS, "halting": {"gamma": 0.9}}  # leaves arm 1 as it is
    second = open_study(ProjectState(state.project_path, None, halting, state.mlflow))
    assert first is not None
    assert second is not None
    assert second["parent_run_id"] != first["parent_run_id"]
    record = CellRecord("k1", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5})
    assert log_study(second, [record])
    client = make_client(second["tracking_uri"])
    (copy,) = mlflow_store.find_runs(
        client, second["experiment_id"], study_key=second["study_key"], kind="cell"
    )
    steps = [m.step for m in client.get_metric_history(copy.info.run_id, "train/loss")]
    assert sorted(steps) == [0, 1, 2, 3]
    assert copy.data.tags["mlflow.parentRunId"] == second["parent_run_id"]


def test_more_seeds_extend_a_study() -> None:
    more = {**PARAMETERS, "ablation": {"num_seeds": 8}}
    other = {**PARAMETERS, "training": {"lr": 5e-4}}
    assert study_key(more) == study_key(PARAMETERS)
    assert study_key(other) != study_key(PARAMETERS)
    arm = {**PARAMETERS, "training": {"lr": 1e-3, "arm": "arm_1_baseline"}}
    assert study_key(arm) == study_key(PARAMETERS)


def test_a_dead_server_costs_one_warning(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        study = open_study(state)
        _train(study, range(3))
    assert study is None
    assert time.monotonic() - started < 20
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    (warning,) = [r for r in caplog.records if r.name.startswith("hybrid_pipeline")]
    assert "goes on without tracking" in warning.getMessage()


def test_a_server_that_dies_during_training_does_not_end_it(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = open_study(state)
    tracker = _train(study, range(1), close=False)
    assert tracker._writer is not None

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(tracker._writer._client, "log_batch", refuse)
    tracker.log_metrics({"train/loss": 0.1}, 5)
    with caplog.at_level(logging.WARNING):
        tracker.close()
    assert sum("goes on without tracking" in r.getMessage() for r in caplog.records) == 1


def test_tracking_can_be_switched_off(state: ProjectState) -> None:
    off = ProjectState(state.project_path, None, PARAMETERS, {"enabled": False})
    assert open_study(off) is None
    assert not (state.project_path / "mlflow.db").exists()


def test_the_link_holds_runs_and_experiment() -> None:
    link = compare_url("http://host:5000/", "7", ["b", "a"])
    assert unquote(link) == 'http://host:5000/#/compare-runs?runs=["b","a"]&experiments=["7"]'
    assert compare_url("sqlite:////p/mlflow.db", "1", []).startswith("http://127.0.0.1:5000/#/")
    assert json.loads(unquote(link.split("runs=")[1].split("&")[0])) == ["b", "a"]


def test_ui_command(tmp_path: Path) -> None:
    uri = mlflow_store.tracking_uri({}, tmp_path)
    assert ui_command(uri, tmp_path) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert ui_command("http://host:5000", tmp_path) == ""


def test_flatten_keeps_every_leaf() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}
    assert flatten(nested) == {"a.b.c": "1", "a.d": "[1, 2]", "e": "None"}


def test_trackers_follow_the_protocol_and_the_context() -> None:
    assert isinstance(NullTracker(), Tracker)
    tracker = CellTracker(CELL, None, None)
    assert isinstance(tracker, Tracker)
    assert isinstance(current_tracker(), NullTracker)
    with use_tracker(tracker):
        assert current_tracker() is tracker
    assert isinstance(current_tracker(), NullTracker)


def test_the_driver_tags_the_commit(tmp_path: Path) -> None:
    assert tracking._git_commit(tmp_path) == ("unknown", False)
