"""The study in MLflow against a real sqlite store: reopened, never logged twice, never fatal."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.progress import CellName, read_progress
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.kedro_ext.tracking import recorder, store
from hybrid_pipeline.kedro_ext.tracking import study as study_module
from hybrid_pipeline.kedro_ext.tracking.cell_tracker import CellTracker
from hybrid_pipeline.kedro_ext.tracking.charts import (
    ACCURACY,
    GAIN,
    MAX_TAG_CHARACTERS,
    VALIDATION_OF_TASK,
    VIEW_TAG,
    comparison_url,
    link_of,
    redirect_page,
    view_state,
)
from hybrid_pipeline.kedro_ext.tracking.history import UPDATES_A_POINT, History, kept_points
from hybrid_pipeline.kedro_ext.tracking.recorder import StudyRecorder
from hybrid_pipeline.kedro_ext.tracking.spool import SpoolReader
from hybrid_pipeline.kedro_ext.tracking.store import make_client, ui_command
from hybrid_pipeline.kedro_ext.tracking.study import (
    DatasetRecord,
    TrackedCell,
    study_key,
    study_tags,
)
from hybrid_pipeline.kedro_ext.tracking.summary import ArmSummary, StudySummary
from hybrid_pipeline.training.checkpoint import CHECKPOINT
from hybrid_pipeline.training.loop import LOG_EVERY_STEPS

PARAMETERS: dict[str, Any] = {
    "tasks": {"digits": {"num_train": 8}},
    "training": {"lr": 1e-3, "arm": "arm_5_coconut"},
    "ablation": {"num_seeds": 2},
}
CELL = CellName("train_arm_1_0", True, "arm_1_baseline", "0", "digits")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: MLflow's migrations take seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    make_client(store.sqlite_uri(path)).search_experiments()
    return path


@pytest.fixture
def state(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectState:
    shutil.copy(empty_database, tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(store, "_warned", False)
    monkeypatch.setattr(recorder, "POLL_S", 0.05)
    return ProjectState(tmp_path, None, PARAMETERS, {"tracking_uri": "sqlite:///mlflow.db"})


def _started(state: ProjectState) -> StudyRecorder:
    tags = study_tags(state)
    assert tags is not None
    started = StudyRecorder(state, tags, state.project_path / "spool")
    started.start()
    return started


def _tracker(state: ProjectState, cell: CellName = CELL) -> CellTracker:
    return CellTracker(cell, study_tags(state), state.project_path / "spool")


def _train(state: ProjectState, steps: range, *, close: bool = True) -> None:
    tracker = _tracker(state)
    tracker.begin(key="k1", params={"training": {"lr": 1e-3}}, tags={"tower": "bundled"})
    for step in steps:
        tracker.log_metrics({"train/loss": 1.0 / (step + 1), "gate (mean) %": 0.5}, step)
    if close:
        tracker.close()


def _client(state: ProjectState) -> Any:
    return make_client(store.tracking_uri(state.mlflow, state.project_path))


def _runs(state: ProjectState, **tags: str) -> list[Any]:
    return store.find_runs(_client(state), "1", **tags)


def _steps(state: ProjectState, run: Any) -> list[int]:
    history = _client(state).get_metric_history(run.info.run_id, "train/loss")
    return sorted(m.step for m in history)


def test_a_study_is_one_parent_with_children(state: ProjectState) -> None:
    started = _started(state)
    _train(state, range(3))
    started.finish()

    (parent,), (child,) = _runs(state, kind="study"), _runs(state, kind="cell")
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
    location = _client(state).get_experiment("1").artifact_location
    assert location.startswith((state.project_path / "mlartifacts").as_uri())
    assert list((state.project_path / "spool").iterdir()) == []


def test_validation_scores_are_drawn_by_task(state: ProjectState) -> None:
    """Grouped by arm, one curve over several tasks has a band that spans the tasks."""
    started = _started(state)
    tracker = _tracker(state)
    tracker.begin(key="k1", params={}, tags={})
    tracker.log_metrics({"validation/score": 0.5}, 4)
    tracker.close()
    started.finish()
    (child,) = _runs(state, kind="cell")
    assert child.data.metrics == {
        "validation/score": 0.5,
        "validation score in percent/digits": 50.0,
    }


def test_metrics_arrive_while_the_cell_trains(state: ProjectState) -> None:
    started = _started(state)
    _train(state, range(3), close=False)
    deadline = time.monotonic() + 60
    while not (
        (runs := _runs(state, kind="cell") if _has_experiment(state) else [])
        and runs[0].data.metrics
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert runs[0].info.status == "RUNNING"
    started.finish()


def _has_experiment(state: ProjectState) -> bool:
    path = state.project_path / "mlflow.db"
    return path.exists() and _client(state).get_experiment_by_name("hybrid_pipeline") is not None


def test_an_interrupted_cell_goes_on_in_its_run_without_repeating(state: ProjectState) -> None:
    started = _started(state)
    _train(state, range(5), close=False)
    started._ended.set()
    started._thread.join()  # sent, but the run was killed before it could finish
    (spooled,) = (state.project_path / "spool").iterdir()
    with spooled.open("a") as file:  # and this much had not been sent
        file.write('{"kind": "metrics", "time_ms": 1, "step": 5, "values": {"train/loss": 0.5}}\n')
        file.write('{"kind": "metrics", "time_')

    again = _started(state)
    tracker = _tracker(state)
    params = {"training": {"lr": 2e-3}, "later": 1}  # a changed value must not be logged again
    tracker.begin(key="k1", params=params, tags={"tower": "bundled"})
    for step in range(3, 8):  # the last checkpoint was at step 3
        tracker.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
    tracker.close()
    again.finish()

    assert len(_runs(state, kind="study")) == 1
    (child,) = _runs(state, kind="cell")
    assert _steps(state, child) == list(range(8))
    assert child.data.params == {"training.lr": "0.001", "later": "1"}
    assert child.info.status == "FINISHED"


def test_a_node_with_two_tasks_gets_a_run_for_each(state: ProjectState) -> None:
    started = _started(state)
    tracker = _tracker(state, CellName("n", True, "arm_1_baseline", "0"))
    for task in ("sudoku", "maze"):
        tracker.begin(key=f"key_{task}", params={}, tags={"task": task})
        tracker.log_metrics({"train/loss": 1.0}, 1)
    tracker.close(failed=True)
    started.finish(failed=True)
    status = {r.data.tags["task"]: r.info.status for r in _runs(state, kind="cell")}
    assert status == {"sudoku": "FINISHED", "maze": "FAILED"}
    assert _runs(state, kind="study")[0].info.status == "FAILED"


def test_progress_covers_all_tasks_of_a_node(tmp_path: Path) -> None:
    tracker = CellTracker(CellName("n", True, "a", "0"), progress_dir=tmp_path)
    tracker.reads({"a": {}, "maze": {}, "sudoku": {}})

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
    assert read_progress(tmp_path)[0].found == pytest.approx(1 / 3)


def test_a_result_found_after_a_training_is_counted_as_found(tmp_path: Path) -> None:
    tracker = CellTracker(CellName("n", True, "a", "0"), progress_dir=tmp_path)
    tracker.reads({"a": {}, "b": {}, "c": {}})
    tracker.begin(key="k", params={}, tags={"task": "a"})
    tracker.progress(1, 1, 0.5, "done")
    tracker.progress(1, 1, 0.25, "cached")
    tracker.begin(key="l", params={}, tags={"task": "c"})
    tracker.progress(5, 10)
    tracker._file.update(now=True)
    seen = read_progress(tmp_path)[0]
    assert seen.share == pytest.approx(5 / 6)
    assert seen.gained == pytest.approx(1 / 2)


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_cell_that_goes_on_gains_from_where_it_went_on(tmp_path: Path, is_killed: bool) -> None:
    cells = tmp_path / "cells"
    (cells / "k").mkdir(parents=True)
    if is_killed:
        (cells / "k" / CHECKPOINT).touch()
    cell = CellName("n", True, "a", "0")
    tracker = CellTracker(cell, progress_dir=tmp_path, cells_dir=cells)
    tracker.reads({"a": {}, "b": {}})
    began = read_progress(tmp_path)[0].started_s
    time.sleep(0.01)
    tracker.begin(key="k", params={}, tags={"task": "a"})
    for done in (60, 80):
        tracker.progress(done, 100)
    tracker._file.update(now=True)
    seen = read_progress(tmp_path)[0]
    assert seen.share == pytest.approx(0.4)
    assert seen.gained == pytest.approx(0.1 if is_killed else 0.4)
    assert (seen.started_s > began) == is_killed


def test_a_found_result_of_the_only_task_is_shown_once(tmp_path: Path) -> None:
    """The display had said `arm_1_baseline 30.2 % reviews 30.2 %`."""
    tracker = CellTracker(CellName("n", True, "a", "0"), progress_dir=tmp_path)
    tracker.progress(1, 1, 0.302, "cached")
    tracker.close(scores={"reviews": 0.302})
    assert read_progress(tmp_path)[0].scores == {"reviews": 0.302}


def _histories(state: ProjectState) -> dict[str, list[tuple[str, int, float]]]:
    client = _client(state)
    return {
        run.info.run_id: sorted(
            (m.key, m.step, m.value)
            for name in run.data.metrics
            for m in client.get_metric_history(run.info.run_id, name)
        )
        for run in (*_runs(state, kind="cell"), *_runs(state, kind="study"))
    }


def test_a_rerun_with_nothing_changed_adds_nothing(state: ProjectState, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# Report")
    records = [
        TrackedCell("k1", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5}),
        TrackedCell("k2", "arm_1_baseline", 1, "digits", {"final/test_score": 0.7}),
    ]
    mean = {"mean/arm_1_baseline/digits/test_score": 0.6}
    first = _started(state)
    _train(state, range(3))
    link = first.finish(records, [report], mean)
    before = _histories(state)
    assert _started(state).finish(records, [report], mean) == link
    assert _histories(state) == before
    assert len(before) == 3  # the parent, the trained cell, the one found under its key
    (parent,) = _runs(state, kind="study")
    assert [entry[0] for entry in before[parent.info.run_id]] == list(mean)
    assert [a.path for a in _client(state).list_artifacts(parent.info.run_id)] == ["report.md"]


def test_a_changed_study_shows_the_cells_that_stayed(state: ProjectState) -> None:
    first = _started(state)
    _train(state, range(4))
    first.finish()
    other = replace(state, parameters={**PARAMETERS, "halting": {"gamma": 0.9}})
    record = TrackedCell("k1", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5})
    _started(other).finish([record])  # the change leaves arm 1 as it is
    key = study_key(other.parameters)
    (copy,) = _runs(state, study_key=key, kind="cell")
    (parent,) = _runs(state, study_key=key, kind="study")
    assert copy.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert _steps(state, copy) == [0, 1, 2, 3]
    assert len(_runs(state, kind="study")) == 2


def test_a_found_cell_without_a_run_gets_what_its_folder_kept(
    state: ProjectState, tmp_path: Path
) -> None:
    updates = [
        {"step": s, "loss": 1 / s, "gate": math.nan if s < 20 else 0.5} for s in range(1, 51)
    ]
    validations = [{"step": s, "score": s / 100} for s in (25, 50)]
    pd.DataFrame(updates).to_parquet(tmp_path / "updates.parquet")
    pd.DataFrame(validations).to_parquet(tmp_path / "validations.parquet")
    history = History({"training": {"lr": 1e-3}}, kept_points(tmp_path, "digits"))
    record = TrackedCell(
        "k9", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5}, history=lambda: history
    )
    _started(state).finish([record])
    (run,) = _runs(state, kind="cell")
    assert run.data.params == {"training.lr": "0.001"}
    assert _steps(state, run) == [20, 40, 50]  # as often as a run that trains reports
    wanted = {
        "train/loss": [(20, 1 / 20), (40, 1 / 40), (50, 1 / 50)],
        "train/gate": [(20, 0.5), (40, 0.5), (50, 0.5)],
        "validation/score": [(25, 0.25), (50, 0.5)],
        f"{VALIDATION_OF_TASK}/digits": [(25, 25.0), (50, 50.0)],
        "final/test_score": [(50, 0.5)],
    }
    for name, points in wanted.items():
        found = _client(state).get_metric_history(run.info.run_id, name)
        assert sorted((m.step, m.value) for m in found) == points
    before = _histories(state)
    _started(state).finish([record])
    assert _histories(state) == before


def test_a_found_cell_is_charted_as_densely_as_one_that_trains() -> None:
    assert UPDATES_A_POINT == LOG_EVERY_STEPS


def test_a_cell_whose_curves_are_gone_has_none(tmp_path: Path) -> None:
    assert kept_points(tmp_path, "digits") == []


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
    make_client("http://127.0.0.1:9")  # the import is not what is timed
    started_s = time.monotonic()
    with caplog.at_level(logging.WARNING):
        started = _started(state)
        _train(state, range(3))
        assert started.finish() == ""
    assert time.monotonic() - started_s < 20
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    (warning,) = [r for r in caplog.records if r.name.startswith("hybrid_pipeline")]
    assert "goes on without MLflow" in warning.getMessage()


def test_what_a_dying_server_missed_is_sent_by_the_next_run(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(MlflowClient, "log_batch", refuse)
        started = _started(state)
        _train(state, range(3))
        assert started.finish() == ""
    assert sum("goes on without MLflow" in r.getMessage() for r in caplog.records) == 1
    _started(state).finish()
    (child,) = _runs(state, kind="cell")
    assert _steps(state, child) == [0, 1, 2]


KILLED_WHILE_CREATING = """
import os, signal, sys
from sqlalchemy import Engine, event
from hybrid_pipeline.kedro_ext.tracking.store import make_client

def die(connection, cursor, statement, *_):
    if "CREATE TABLE spans" in statement:  # made, but not noted as made
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(Engine, "after_cursor_execute", die)
make_client(sys.argv[1]).search_experiments()
"""


def test_a_store_killed_while_it_was_created_is_created_again(state: ProjectState) -> None:
    (state.project_path / "mlflow.db").unlink()
    uri = store.tracking_uri(state.mlflow, state.project_path)
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_CREATING, uri], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    started = _started(state)
    _train(state, range(3))
    started.finish([TrackedCell("k1", "arm_1_baseline", 0, "digits")])
    (child,) = _runs(state, kind="cell")
    assert _steps(state, child) == [0, 1, 2]


def test_a_store_that_another_process_made_meanwhile_stays(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state.project_path / "mlflow.db").unlink()
    uri = store.tracking_uri(state.mlflow, state.project_path)
    lock = store.locked

    @contextmanager
    def late(path: Path) -> Iterator[None]:
        patched.undo()
        make_client(store.sqlite_uri(state.project_path / "other.db")).create_experiment("theirs")
        (state.project_path / "other.db").rename(state.project_path / "mlflow.db")
        with lock(path):
            yield

    with monkeypatch.context() as patched:
        patched.setattr(store, "locked", late)
        client = make_client(uri)
    assert {e.name for e in client.search_experiments()} == {"Default", "theirs"}
    left = {p.name for p in state.project_path.iterdir()}
    assert left <= {"mlflow.db", "mlruns", ".mlflow.db.lock"}


@pytest.mark.parametrize("name", ["a%20b", "what?x=1 #two", "it's $HOME"])
def test_a_project_under_a_path_that_is_no_url(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    uri = store.tracking_uri({"tracking_uri": "sqlite:///mlflow.db"}, root)
    client = make_client(uri)
    experiment = client.create_experiment("mine", (root / "mlartifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    (root / "note.txt").write_text("seen")
    client.log_artifact(run, str(root / "note.txt"))
    assert next(root.glob("mlartifacts/*/artifacts/note.txt")).read_text() == "seen"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {"mlflow.db", "mlartifacts"} <= {path.name for path in root.iterdir()}
    command = ui_command(uri, root)
    assert command == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    absolute = shlex.split(ui_command(uri, Path("/elsewhere")))[-1]
    assert store.database_of(absolute) == root / "mlflow.db"


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:///mlflow.db", "/p/mlflow.db"),
        ("sqlite:////q/a%2520b.db?timeout=5", "/q/a%20b.db"),
        ("sqlite:///~/runs.db", "/home/me/runs.db"),
        ("sqlite:///:memory:", None),
        ("http://host:5000", None),
        ("postgresql://u:p%40@host/db", None),
    ],
)
def test_what_a_uri_names(uri: str, database: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    full = store.tracking_uri({"tracking_uri": uri}, Path("/p"))
    assert store.database_of(full) == (None if database is None else Path(database))
    if database is None:
        assert full == uri
    else:
        assert full.endswith("?timeout=5") == uri.endswith("?timeout=5")


def test_tracking_without_hard_links(state: ProjectState, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    client = make_client(store.tracking_uri(state.mlflow, state.project_path))
    assert [e.name for e in client.search_experiments()] == ["Default"]


def test_hidden_files_of_a_folder_are_no_artifacts(tmp_path: Path) -> None:
    """Beside the figures lie the notes of their checksums."""
    for name in ("steps.json", ".checksums/steps.json", ".steps.json.k53qf38d"):
        (tmp_path / "figures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "figures" / name).write_text("{}")
    logged = []
    client = SimpleNamespace(log_artifact=lambda *given: logged.append(given))
    study_module._log_artifact(client, "run", tmp_path / "figures")
    study_module._log_artifact(client, "run", tmp_path / "none")
    assert logged == [("run", str(tmp_path / "figures" / "steps.json"), "figures")]


def test_tracking_can_be_switched_off(state: ProjectState) -> None:
    off = replace(state, mlflow={"enabled": False})
    assert study_tags(off) is None
    _train(off, range(3))
    assert not (state.project_path / "spool").exists()


def test_a_full_disk_does_not_end_a_training(tmp_path: Path) -> None:
    tracker = CellTracker(CELL, {"study_key": "s"}, tmp_path / "spool")
    tracker.begin(key="k", params={}, tags={})
    assert tracker._spool is not None

    class Full:
        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    tracker._spool._file = Full()  # type: ignore[assignment]
    tracker.log_metrics({"a": 1.0}, 1)
    tracker.close()
    assert [e["kind"] for _, e in SpoolReader(tmp_path / "spool").new_events()] == ["begin"]


SUMMARY = StudySummary(
    "The full model helps.",
    (
        ArmSummary("arm_1_baseline", "1 Custom ViT: 60.0 %", {ACCURACY: 60.0}),
        ArmSummary("arm_2_clip", "2 + frozen CLIP: 70.0 % helps", {ACCURACY: 70.0}),
    ),
    "**The full model helps.**",
    ("digits",),
)
RECORD = TrackedCell(
    "k1", "arm_1_baseline", 0, "digits", {"final/test_score": 0.5}, tags={"length": "1"},
    dataset=DatasetRecord("digits", "t" * 64, "03_primary/tables/t.parquet", {"rows": 8}),
)  # fmt: skip


def test_a_finished_study_is_described_and_its_arms_have_runs(state: ProjectState) -> None:
    _train(state, range(3))
    short = replace(RECORD, key="k0", tags={"length": "0.25"})
    link = _started(state).finish([RECORD, short], summary=SUMMARY)
    assert "viewStateShareKey=study-" in link
    (parent,) = _runs(state, kind="study")
    assert parent.data.tags["mlflow.note.content"] == SUMMARY.note
    arms = {run.data.tags["arm"]: run for run in _runs(state, kind="arm")}
    assert {name: run.data.metrics[ACCURACY] for name, run in arms.items()} == {
        "arm_1_baseline": 60.0, "arm_2_clip": 70.0,
    }  # fmt: skip
    cells = {run.data.tags["cell_key"]: run for run in _runs(state, kind="cell")}
    assert cells["k1"].data.tags["result"] == "1 Custom ViT: 60.0 %"
    assert (cells["k1"].data.tags["shown"], cells["k0"].data.tags["shown"]) == ("yes", "no")
    assert {run.data.tags["judged"] for run in _runs(state) if "judged" in run.data.tags} == {"yes"}
    assert "A single seed decides nothing" in cells["k1"].data.tags["mlflow.note.content"]
    (used,) = cells["k1"].inputs.dataset_inputs
    assert (used.dataset.name, len(used.dataset.digest)) == ("digits", 36)
    assert _started(state).finish([RECORD, short], summary=SUMMARY) == link
    assert len(_runs(state)) == 5
    (run,) = [run for run in _runs(state, kind="cell") if run.data.tags["cell_key"] == "k1"]
    assert len(run.inputs.dataset_inputs) == 1


def test_a_study_below_the_floor_says_so_over_its_charts(state: ProjectState) -> None:
    """What the run is and what is missing, in the page, in the description, and as a tag."""
    banner = "Nothing is judged: 1 seed, at least 3 are needed. This run: environment smoke."
    below = replace(SUMMARY, headline=banner, note=f"**{banner}**", is_judged=False)
    _train(state, range(3))
    _started(state).finish([RECORD], summary=below)
    (parent,) = _runs(state, kind="study")
    assert (parent.data.tags["judged"], parent.data.tags["mlflow.note.content"]) == (
        "no", f"**{banner}**",
    )  # fmt: skip
    experiment = _client(state).get_experiment("1")
    (view,) = [v for name, v in experiment.tags.items() if name.startswith(VIEW_TAG)]
    names = [section["name"] for section in json.loads(view)["compareRunSections"]]
    assert names[0] == banner
    assert "Which arm is best" not in view


def test_cells_of_a_deleted_study_go_to_the_new_one(state: ProjectState) -> None:
    first = _started(state)
    _train(state, range(3))
    first.finish()
    (old,) = _runs(state, kind="study")
    _client(state).delete_run(old.info.run_id)
    _started(state).finish([RECORD])
    (new,), (child,) = _runs(state, kind="study"), _runs(state, kind="cell")
    assert new.info.run_id != old.info.run_id
    assert child.data.tags["mlflow.parentRunId"] == new.info.run_id
    assert _steps(state, child) == [0, 1, 2]


def test_a_deleted_experiment_says_how_it_is_restored(
    state: ProjectState, caplog: pytest.LogCaptureFixture
) -> None:
    _started(state).finish()
    _client(state).delete_experiment("1")
    with caplog.at_level(logging.WARNING):
        assert _started(state).finish([RECORD]) == ""
    (warning,) = [r for r in caplog.records if r.name.startswith("hybrid_pipeline")]
    assert "mlflow experiments restore --experiment-id 1" in warning.getMessage()


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "./mlruns", "file:mlruns"])
def test_a_folder_as_store_is_refused_before_any_work(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match="is a folder, which MLflow no longer writes to"):
        study_tags(state)


@pytest.mark.parametrize("uri", ["http://host:5000", "sqlite:///a.db", "postgresql://u@h/db"])
def test_databases_and_servers_are_taken(uri: str) -> None:
    store.check_tracking_uri(uri)


def test_the_view_fits_a_tag_and_its_page_leads_to_it() -> None:
    assert comparison_url("http://host:5000/", "7", "abcdefghij").startswith(
        "http://host:5000/#/experiments/7/runs?viewStateShareKey=study-abcdefgh&"
    )
    state = json.loads(view_state("key", ["maze", "sudoku"]))
    metrics = [chart["metricKey"] for chart in state["compareRunCharts"]]
    assert metrics[:3] == [ACCURACY, GAIN, "validation score in percent/maze"]
    assert {f"{ACCURACY}/maze", f"{ACCURACY}/sudoku"} <= set(metrics)
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
    assert len(view_state("key", [f"task_{i}" for i in range(200)])) <= MAX_TAG_CHARACTERS
    link = comparison_url("sqlite:////p/mlflow.db", "1", "k")
    assert link.startswith("http://127.0.0.1:5000/#/")
    page = redirect_page(link, "mlflow ui")
    assert link_of(page) == link
    assert "<code>mlflow ui</code>" in page
