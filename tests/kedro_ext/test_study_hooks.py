"""The hooks in real runs: the same study with every runner, and after kill -9."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cell_records import diverged, done
from hybrid_pipeline.kedro_ext import study_hooks, trained
from hybrid_pipeline.kedro_ext.progress import read_progress
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.kedro_ext.tracking.charts import link_of
from hybrid_pipeline.kedro_ext.tracking.records import means_of, record_of, task_record
from hybrid_pipeline.kedro_ext.tracking.store import find_runs, make_client
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell, CellResult, finished_results
from kedro_projects import TinyProject, make_project

DASK = "hybrid_pipeline.kedro_ext.dask.runner.DaskRunner"
DATASETS = "hybrid_pipeline.kedro_ext.datasets"
STUDY = """
import sys, time
from pathlib import Path
sys.path.append(TESTS)
from cell_records import done
from hybrid_pipeline.stats.results import StudyResults
from hybrid_pipeline.training.result import Cell, read_result, write_result
from kedro.pipeline import Pipeline, node
from hybrid_pipeline.kedro_ext.project_parameters import current_parameters
from hybrid_pipeline.training.tracker import current_tracker

DATA = Path(__file__).parents[2] / "data"
STEPS = 6

def train(arm, seed):
    def cell():
        key, tracker = f"key_{arm}_{seed}", current_tracker()
        kept = DATA / "cells" / f"{key}.json"
        if kept.exists():
            result = read_result(kept)
            tracker.progress(1, 1, result.test_score, "cached")
            return Cell(arm=arm, seed=seed, results=(result,))
        tracker.begin(key=key, params={"arm": arm, "lr": 0.1}, tags={"task": "digits"})
        for step in range(1, STEPS + 1):
            tracker.log_metrics({"train/loss": 1 / step}, step)
            tracker.progress(step, STEPS, 0.1 * step)
            time.sleep(current_parameters()["training"]["lr_min_ratio"])
        result = done(arm, seed, "digits", 0.5 + seed / 10, key=key)
        kept.parent.mkdir(exist_ok=True)
        write_result(kept, result)
        return Cell(arm=arm, seed=seed, results=(result,))
    return cell

def collect(*cells):
    (DATA / "08_reporting").mkdir(exist_ok=True)
    (DATA / "08_reporting/report.md").write_text("# Report")
    results = StudyResults(
        headline="h", arms=("arm_1_baseline", "arm_2_clip"), tasks=("digits",),
        metrics={"digits": "correct"}, seeds=(0, 1), delta=0.01, alpha=0.05,
    )
    return list(cells), results.model_dump(mode="json")

def register_pipelines():
    cells = [(a, s) for a in ("arm_1_baseline", "arm_2_clip") for s in range(2)]
    nodes = [
        node(train(a, s), None, f"{a}.part_{s}", name=f"{a}.train_{s}",
             tags=["cell", f"arm.{a}", f"seed.{s}"])
        for a, s in cells
    ]
    names = [f"{a}.part_{s}" for a, s in cells]
    nodes.append(node(collect, names, ["reporting.cells", "reporting.results"], name="collect"))
    return {"__default__": Pipeline(nodes)}
"""
CATALOG = f"""
"{{arm}}.part_{{seed}}":
  type: {DATASETS}.CellDataset
  filepath: data/{{arm}}_{{seed}}.json
reporting.cells:
  type: {DATASETS}.CellsDataset
  filepath: data/study_cells.json
reporting.results:
  type: {DATASETS}.JsonAtomicDataset
  filepath: data/study_results.json
"""
STUDY = STUDY.replace("TESTS", repr(str(Path(__file__).parents[1])))
PARAMETERS = """
tasks:
  digits: {source: maze, num_train: 8, num_validation: 2, num_test: 2}
training: {lr_warmup_ratio: 0.1, lr_min_ratio: 0.0}
"""


def _study(project: TinyProject) -> tuple[Any, dict[str, Any]]:
    client = make_client(f"sqlite:///{project.root / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "hybrid_pipeline"]
    (parent,) = find_runs(client, experiment.experiment_id, kind="study")
    children = find_runs(client, experiment.experiment_id, kind="cell")
    history = {
        r.data.tags["cell_key"]: [
            m.step for m in client.get_metric_history(r.info.run_id, "train/loss")
        ]
        for r in children
    }
    assert all(r.data.tags["mlflow.parentRunId"] == parent.info.run_id for r in children)
    assert {r.info.status for r in (parent, *children)} == {"FINISHED"}
    return parent, history


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", DASK])
def test_a_study_is_tracked_with_every_runner(tmp_path: Path, runner: str) -> None:
    project = make_project(tmp_path, STUDY, CATALOG, parameters=PARAMETERS)
    code, output = project.run("--runner", runner)
    assert code == 0, output
    parent, history = _study(project)
    assert set(history) == {
        f"key_{a}_{s}" for a in ("arm_1_baseline", "arm_2_clip") for s in (0, 1)
    }
    assert all(sorted(steps) == list(range(1, 7)) for steps in history.values())
    assert parent.data.metrics["mean/arm_1_baseline/digits/test_score"] == pytest.approx(0.55)
    compare = project.out("08_reporting/compare.html")
    link = compare.read_text()
    assert f"Compare: {link_of(link)}" in output.splitlines() or runner != DASK
    _check_view(project, parent, link_of(link))
    progress = read_progress(project.out("07_model_output/progress"))
    assert {p.state for p in progress} == {"done"}
    shown = {p.cell.title: p.scores["digits"] for p in progress if p.cell.is_cell}
    assert len(shown) == 4  # what is left on the screen is the final score
    baseline = [score for title, score in shown.items() if title.startswith("arm_1_baseline")]
    assert sum(baseline) / 2 == pytest.approx(0.55)

    code, output = project.run("--runner", runner)  # nothing changed
    assert code == 0, output
    assert _study(project)[1] == history
    assert compare.read_text() == link
    assert "4 of 4 cells done" in output

    changed = "training.lr_min_ratio=0.1"  # one cell alone, of another study: no report, no link
    code, output = project.run(
        "--runner", runner, "--nodes", "arm_2_clip.train_0", "--params", changed
    )
    assert code == 0, output
    assert compare.read_text() == link
    client = make_client(f"sqlite:///{project.root / 'mlflow.db'}")
    artifacts = [
        [a.path for a in client.list_artifacts(run.info.run_id)]
        for run in find_runs(client, "1", kind="study")
    ]
    assert artifacts == [[], ["report.md"]]


def _check_view(project: TinyProject, parent: Any, link: str) -> None:
    """The short link names a view of the experiment; the view selects all cells and an arm each."""
    key = parent.data.tags["study_key"]
    assert link == (
        f"http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=study-{key[:8]}"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )
    client = make_client(f"sqlite:///{project.root / 'mlflow.db'}")
    tags = client.get_experiment("1").tags
    state = json.loads(tags[f"mlflow.sharedViewState.study-{key[:8]}"])
    shown = client.search_runs(["1"], state["searchFilter"])
    assert sorted(run.data.tags["kind"] for run in shown) == ["arm"] * 2 + ["cell"] * 4
    (group,) = state["groupBy"]["groupByKeys"]
    assert len({run.data.tags[group["groupByData"]] for run in shown}) == 2
    cell = next(run for run in shown if run.data.tags["kind"] == "cell")
    assert cell.data.tags["components"] in ("none", "clip")
    in_percent = cell.data.metrics["accuracy in percent/digits"]
    assert in_percent == pytest.approx(100 * cell.data.metrics["final/test_score"])
    assert "h" in parent.data.tags["mlflow.note.content"]


def _has_cell(project: TinyProject) -> bool:
    if not (project.root / "mlflow.db").exists():
        return False
    client = make_client(f"sqlite:///{project.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("hybrid_pipeline")
    return bool(experiment and find_runs(client, experiment.experiment_id, kind="cell"))


@pytest.mark.slow
@pytest.mark.parametrize("until", ["trained", "tracked"])
def test_after_kill_9_the_same_run_goes_on(tmp_path: Path, until: str) -> None:
    """Killed in a cell: perhaps before MLflow's store exists, and after it has the cell's run."""
    slow = PARAMETERS.replace("lr_min_ratio: 0.0", "lr_min_ratio: 0.5")
    project = make_project(tmp_path, STUDY, CATALOG, parameters=slow)
    process = project.popen("--runner", "SequentialRunner")
    deadline = time.monotonic() + 150
    folder = project.out("07_model_output/progress")
    while not any(p.trained and p.done >= 4 for p in read_progress(folder)) or (
        until == "tracked" and not _has_cell(project)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    code, output = project.run(
        "--runner", "SequentialRunner", "--params", "training.lr_min_ratio=0"
    )
    assert code == 0, output
    client = make_client(f"sqlite:///{project.root / 'mlflow.db'}")
    runs = find_runs(client, "1", kind="cell")
    assert len({r.data.tags["cell_key"] for r in runs}) == 4


def test_final_metrics_and_means_come_from_the_results() -> None:
    short = done("x", 0, "t", 0.9, length=0.25)
    cells = [
        Cell(arm="x", seed=0, results=(short, done("x", 0, "t", 0.25, updates=40))),
        Cell(arm="x", seed=1, results=(done("x", 1, "t", 0.75),)),
        Cell(arm="x", seed=2, results=(diverged("x", 2, "t"),)),
        Cell(arm="x", seed=3, not_run="why"),
    ]
    results = finished_results(cells)
    record = record_of(results[1])
    assert (record.arm, record.seed, record.task) == ("x", 0, "t")
    assert record.metrics["final/test_score"] == 0.25
    assert record.metrics["final/updates"] == 40
    assert not {"final/seed", "final/length"} & set(record.metrics)
    assert record_of(results[0]).tags["length"] == "0.25"
    handle = TaskHandle(task="t", table="t1", views="v1", splits={"train": 8}, classes=("a",))
    task = task_record(handle)
    assert task.tags["tower"] == "none"
    dataset = record_of(results[1], task).dataset
    assert dataset is not None
    assert (dataset.name, dataset.digest) == ("t", "t1")
    assert dataset.profile == {"splits": {"train": 8}}
    assert means_of(results)["mean/x/t/test_score"] == 0.5  # of the longest training


def test_the_model_that_is_logged_is_the_full_arm_first_seed_longest_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {
        study_hooks.RESULTS_DATASET: {"arms": ["arm_1_baseline", "arm_5_coconut"]},
        study_hooks.TASK_DATA_DATASET: {
            name: TaskHandle(task=name, table=name[0]) for name in ("sudoku", "maze")
        },
    }

    class Stored:
        def load(self, name: str) -> Any:
            return stored[name]

        def datasets(self) -> set[str]:
            return set(stored)

    def opened(found: CellResult, handle: TaskHandle, _: ProjectState) -> tuple[Any, Path]:
        return handle.table, tmp_path / found.key

    monkeypatch.setattr(trained, "open_trained", opened)
    results = [
        done("arm_5_coconut", 1, "maze"), done("arm_5_coconut", 2, "maze"),
        done("arm_5_coconut", 0, "maze", length=0.25), done("arm_1_baseline", 0, "maze"),
        done("arm_5_coconut", 2, "sudoku"),
    ]  # fmt: skip
    state = ProjectState(tmp_path, None, {"plugins": ["mine"]})
    logged = list(study_hooks._full_arms(results, Stored(), Stored(), state))
    assert [(one.task, one.seed, one.trained, one.weights.name) for one in logged] == [
        ("maze", 1, "m", "arm_5_coconut-1-maze"), ("sudoku", 2, "s", "arm_5_coconut-2-sudoku"),
    ]  # fmt: skip
    assert {(one.arm, one.plugins) for one in logged} == {("arm_5_coconut", ("mine",))}
    assert list(study_hooks._full_arms([], Stored(), Stored(), state)) == []
