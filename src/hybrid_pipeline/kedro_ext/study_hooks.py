"""Hooks around a run and around each node: tracker, live display, the study in MLflow.

``before_pipeline_run`` and its counterparts fire only in the driver; the node hooks fire in
whatever process runs the node. What connects them is ``ProjectState``, which travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from hybrid_pipeline.kedro_ext.display import RunDisplay
from hybrid_pipeline.kedro_ext.progress import (
    ANNOUNCE_TAG,
    CELL_TAG,
    PROGRESS_FOLDER,
    CellName,
    clear_progress,
)
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    current_state,
    update_state,
)
from hybrid_pipeline.kedro_ext.study_folder import current_study
from hybrid_pipeline.kedro_ext.tracking.arm_model import FinishedArm
from hybrid_pipeline.kedro_ext.tracking.cell_tracker import CellTracker
from hybrid_pipeline.kedro_ext.tracking.charts import redirect_page
from hybrid_pipeline.kedro_ext.tracking.history import history_of
from hybrid_pipeline.kedro_ext.tracking.recorder import StudyRecorder
from hybrid_pipeline.kedro_ext.tracking.records import TaskRecord, means_of, record_of, task_record
from hybrid_pipeline.kedro_ext.tracking.spool import spool_folder
from hybrid_pipeline.kedro_ext.tracking.store import tracking_uri, ui_command
from hybrid_pipeline.kedro_ext.tracking.study import study_tags
from hybrid_pipeline.kedro_ext.tracking.summary import StudySummary, summarise
from hybrid_pipeline.kedro_ext.work import WorkProcess
from hybrid_pipeline.report.latest import point_latest
from hybrid_pipeline.storage import Workspace, write_text_atomically
from hybrid_pipeline.training.result import Cell, CellResult, finished_results
from hybrid_pipeline.training.tracker import install_tracker

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

# A dataset with this name holds the study's cells: what ``training.study.run_cells`` returns.
CELLS_DATASET = "reporting.cells"
TASK_DATA_DATASET = "task_data"
REPORTING_FOLDER = Path("08_reporting")
REPORT = "report.html"
REPORT_NAMES = (
    "report.md",
    REPORT,
    "examples.html",
    "figures.html",
    "scores.parquet",
    "effects.csv",
    "compound.json",
    "claims_audit.json",
)
LOGGED = (*REPORT_NAMES, "contact_sheets")
RESULTS_DATASET = "reporting.results"
COMPARE_FILE = "compare.html"
WITHOUT_CELLS = "without_cells"  # folder of the progress of runs that train nothing

_display: RunDisplay | None = None
_last_failed_node: str | None = None
_reports: frozenset[str] = frozenset()


def stop_display() -> None:
    """End the live display, if one runs."""
    global _display
    if _display is not None:
        _display.stop()
        _display = None


def last_failed_node() -> str | None:
    """Name of the node that raised last in this process."""
    return _last_failed_node


def reports_of_run() -> frozenset[str]:
    """Names of the files that this run writes to the folder of the reports.

    A run of one arm, or only of training, leaves the report of an earlier study as it is.
    """
    return _reports


class NodeHooks:
    """Installs a tracker around every node; only cells report to MLflow."""

    def __init__(self) -> None:
        self._trackers: dict[str, CellTracker] = {}

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Install the tracker that the node finds with ``current_tracker()``."""
        state = current_state()
        if state is None:
            return
        cell = CellName.from_tags(node.name, node.tags)
        study = state.study if cell.is_cell else None
        spool_dir = spool_folder(state.data_dir, study) if study is not None else None
        cells_dir = Workspace(state.data_dir).cells
        tracker = CellTracker(cell, study, spool_dir, state.progress_dir, cells_dir)
        self._trackers[node.name] = tracker
        install_tracker(tracker)

    @hook_impl
    def after_node_run(self, node: Node, outputs: dict[str, Any]) -> None:
        """End the node's run; the display gets what the node found."""
        tracker = self._take(node)
        if tracker is not None:
            scores, message = final_scores(node.tags, outputs), announcement(node.tags, outputs)
            not_run = any(isinstance(v, Cell) and bool(v.not_run) for v in outputs.values())
            tracker.close(scores=scores, message=message, not_needed=not_run)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Mark the node's run as failed."""
        global _last_failed_node
        _last_failed_node = node.name
        tracker = self._take(node)
        if tracker is not None:
            tracker.close(failed=True)

    def _take(self, node: Node) -> CellTracker | None:
        install_tracker(None)
        return self._trackers.pop(node.name, None)


class RunHooks:
    """Opens and closes the study, and shows the run; in the driver."""

    def __init__(self) -> None:
        self._recorder: StudyRecorder | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Start the display and, if there are cells, the study."""
        state = current_state()
        if state is None:
            return
        cells = [CellName.from_tags(n.name, n.tags) for n in pipeline.nodes if CELL_TAG in n.tags]
        progress_dir = state.data_dir / PROGRESS_FOLDER
        if not cells:  # it may run beside a training, whose progress stays
            progress_dir /= WITHOUT_CELLS
        clear_progress(progress_dir)
        study = study_tags(state) if cells else None
        global _reports
        folder = reporting_dir(catalog, state.data_dir)
        _reports = _files_in(folder, pipeline, catalog)
        update_state(progress_dir=progress_dir, reporting_dir=folder, study=study)
        self._recorder = None
        if study is not None:
            self._recorder = StudyRecorder(state, study, spool_folder(state.data_dir, study))
            self._recorder.start()
        task_data = _path_of(TASK_DATA_DATASET, catalog)
        _start_display(progress_dir, cells, state.parameters, task_data)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Complete the study with the means and the report; write the deep link."""
        stop_display()
        state = current_state()
        if state is None or state.reporting_dir is None or self._recorder is None:
            return
        folder = state.reporting_dir
        results = _finished_results(pipeline, catalog)
        tasks = _tasks(pipeline, catalog)
        link = self._recorder.finish(
            records=[
                record_of(result, tasks.get(result.task), partial(history_of, result, state))
                for result in results
            ],
            report_paths=[folder / name for name in LOGGED] if results else [],
            means=means_of(results),
            summary=_summary(pipeline, catalog, state),
            arms=_full_arms(results, pipeline, catalog, state),
        )
        if link:
            command = ui_command(tracking_uri(state.mlflow, state.project_path), state.project_path)
            write_text_atomically(folder / COMPARE_FILE, redirect_page(link, command))
            global _reports
            _reports |= {COMPARE_FILE}

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the display and mark the study as failed."""
        stop_display()
        if self._recorder is not None:
            self._recorder.finish(failed=True)


class LatestHooks:
    """Leads ``latest`` to the report that this run wrote."""

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Move ``latest`` only if there is a new report behind it."""
        state = current_state()
        if state is None or state.reporting_dir is None or REPORT not in reports_of_run():
            return
        if state.reporting_dir.name == current_study():  # not a catalog's place of its own
            point_latest(state.reporting_dir)


STUDY_HOOKS = (NodeHooks(), RunHooks(), LatestHooks())


def final_scores(tags: Iterable[str], outputs: Mapping[str, Any]) -> dict[str, float]:
    """Test score by task of the cell that a node trained; empty for any other node."""
    if CELL_TAG not in tags:
        return {}
    cells = [cell for cell in outputs.values() if isinstance(cell, Cell)]
    return {result.task: result.test_score for result in finished_results(cells)}


def announcement(tags: Iterable[str], outputs: Mapping[str, Any]) -> str:
    """What a node tagged ``announce`` has to say: the ``reason`` of its decision."""
    if ANNOUNCE_TAG not in tags:
        return ""
    return " ".join(str(v["reason"]) for v in outputs.values() if "reason" in v)


def _start_display(
    folder: Path,
    cells: Sequence[CellName],
    parameters: Mapping[str, Any],
    task_data: Path | None,
) -> None:
    global _display
    stop_display()
    work = WorkProcess(cells, parameters, task_data) if len(cells) > 1 else None
    _display = RunDisplay(folder, cells, work=work)
    _display.start()


def reporting_dir(catalog: Any, data_dir: Path) -> Path:
    """The folder of ``report.md``, wherever the environment's catalog puts it."""
    for name in catalog:
        path = _path_of(name, catalog)
        if path is not None and path.name == "report.md":
            return path.parent
    return data_dir / REPORTING_FOLDER


def _files_in(folder: Path, pipeline: Pipeline, catalog: Any) -> frozenset[str]:
    paths = [_path_of(name, catalog) for name in pipeline.all_outputs()]
    return frozenset(path.name for path in paths if path is not None and path.parent == folder)


def _path_of(dataset: str, catalog: Any) -> Path | None:
    path = getattr(catalog.get(dataset), "_filepath", None)
    return None if path is None else Path(str(path))


def _finished_results(pipeline: Pipeline, catalog: Any) -> list[CellResult]:
    if CELLS_DATASET not in pipeline.datasets():
        return []
    return finished_results(catalog.load(CELLS_DATASET))


def _summary(pipeline: Pipeline, catalog: Any, state: ProjectState) -> StudySummary | None:
    if RESULTS_DATASET not in pipeline.all_outputs():
        return None
    env = f" --env {state.env}" if state.env else ""
    return summarise(catalog.load(RESULTS_DATASET), f"kedro run --pipeline ablation{env}")


def _full_arms(
    results: Sequence[CellResult], pipeline: Pipeline, catalog: Any, state: ProjectState
) -> Iterator[FinishedArm]:
    """The last arm of the chain with its first seed at the longest training, on every task."""
    if not results or not {RESULTS_DATASET, TASK_DATA_DATASET} <= set(pipeline.datasets()):
        return
    from hybrid_pipeline.kedro_ext.trained import open_trained

    full = catalog.load(RESULTS_DATASET)["arms"][-1]
    longest = max((result.length for result in results), default=1.0)
    mine = [r for r in results if r.arm == full and r.length == longest]
    for task, handle in sorted(catalog.load(TASK_DATA_DATASET).items()):
        first = min((r for r in mine if r.task == task), key=lambda r: r.seed, default=None)
        if first is not None:
            trained, weights = open_trained(first, handle, state)
            plugins = tuple(state.parameters.get("plugins") or ())
            yield FinishedArm(
                full, task, first.seed, first.key, weights, trained, plugins, first.test_score
            )


def _tasks(pipeline: Pipeline, catalog: Any) -> dict[str, TaskRecord]:
    if TASK_DATA_DATASET not in pipeline.datasets():
        return {}
    handles = catalog.load(TASK_DATA_DATASET)
    return {task: task_record(handle) for task, handle in handles.items()}
