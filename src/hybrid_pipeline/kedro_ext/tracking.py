"""A study in MLflow: one parent run, one nested child per cell, found again by their keys.

The driver opens the study (``open_study``) and closes it with the arms' means and the report
(``log_study``); in between each cell reports through a ``CellTracker``, in whatever process it
runs. A tracking server that does not answer costs one warning and no result.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.kedro_ext.mlflow_store import (
    MetricWriter,
    compare_url,
    find_runs,
    last_steps,
    log_changed_metrics,
    log_new_params,
    make_client,
    tracking_uri,
    warn_once,
)
from hybrid_pipeline.kedro_ext.progress import CellName, ProgressFile
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.storage import content_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# What makes two runs of the pipeline the same study; more seeds or arms extend it.
STUDY_GROUPS = ("tasks", "rendering", "clip", "model", "training", "halting")
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class CellRecord:
    """One finished cell, for the study's summary.

    Attributes:
        key: content key of the cell.
        arm: name of the arm.
        seed: seed of the cell.
        task: where a cell is one task of an arm and a seed.
        metrics: final metrics, such as ``test/sudoku/correct``.
        params: resolved parameters of the cell.
        tags: further tags, such as ``tower`` and ``data_key``.
    """

    key: str
    arm: str
    seed: int
    task: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def study_key(parameters: Mapping[str, Any]) -> str:
    """The key of a study: equal data, model and training, whatever the number of arms and seeds."""
    groups = {name: dict(parameters.get(name) or {}) for name in STUDY_GROUPS}
    for name in ("arm", "seed"):  # read by hybrid_training alone
        groups["training"].pop(name, None)
    return content_key(groups)


def open_study(state: ProjectState) -> dict[str, str] | None:
    """Find or make the experiment and the study's parent run.

    Also initialises the database, once and before any worker: two processes that first open one
    sqlite file disturb each other.

    Returns:
        What a cell needs to report (``ProjectState.study``), ``None`` when tracking is off or
        does not answer.
    """
    if not state.mlflow.get("enabled", True):
        return None
    uri = tracking_uri(state.mlflow, state.project_path)
    try:
        client = make_client(uri)
        experiment_id = _experiment(client, state, uri)
        key = study_key(state.parameters)
        shared = _shared_tags(state) | {"study_key": key}
        found = find_runs(client, experiment_id, study_key=key, kind="study")
        parent = found[0] if found else _create(client, experiment_id, "study", shared)
        _reopen(client, parent, shared)
        log_new_params(client, parent, state.parameters)
    except Exception as error:  # noqa: BLE001  (tracking never ends a run)
        warn_once(error)
        return None
    return {
        "tracking_uri": uri,
        "experiment_id": experiment_id,
        "parent_run_id": str(parent.info.run_id),
        **shared,
    }


def _experiment(client: MlflowClient, state: ProjectState, uri: str) -> str:
    name = str(state.mlflow.get("experiment", "hybrid_pipeline"))
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if uri.startswith("http") else state.project_path / "mlartifacts"
    return str(client.create_experiment(name, location.as_uri() if location else None))


def _shared_tags(state: ProjectState) -> dict[str, str]:
    commit, is_dirty = _git_commit(state.project_path)
    return {
        "task_set": ",".join(sorted(state.parameters.get("tasks", {}))),
        "env": state.env or "base",
        "git_commit": commit,
        "git_dirty": str(is_dirty).lower(),
    }


def _git_commit(root: Path) -> tuple[str, bool]:
    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return "unknown", False


def _create(
    client: MlflowClient, experiment_id: str, kind: str, tags: Mapping[str, str], name: str = ""
) -> Run:
    label = name or f"{kind} {tags['study_key'][:8]}"
    run = client.create_run(experiment_id, tags={**tags, "kind": kind}, run_name=label)
    return client.get_run(run.info.run_id)


def _reopen(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    run_id = run.info.run_id
    if run.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            client.set_tag(run_id, name, value)


class CellTracker:
    """Reports one node: to the progress file always, to MLflow once ``begin`` was called.

    Args:
        cell: name, arm and seed, from the node's tags.
        study: what ``open_study`` gave, ``None`` without tracking.
        progress_dir: folder of the progress files, ``None`` for none.
        num_tasks: how many tasks the node trains, one after the other.
    """

    def __init__(
        self,
        cell: CellName,
        study: Mapping[str, str] | None,
        progress_dir: Path | None,
        num_tasks: int = 1,
    ) -> None:
        self._cell = cell
        self._study = study
        self._num_tasks = num_tasks
        self._num_finished = 0
        self._has_begun = False
        self._file = ProgressFile(progress_dir, cell)
        self._file.update(now=True)
        self._task = cell.task
        self._scores: dict[str, float] = {}
        self._client: MlflowClient | None = None
        self._run: Run | None = None
        self._writer: MetricWriter | None = None

    def begin(self, *, key: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Open the cell's run, or the one that an interrupted run left; see ``Tracker``.

        A node that trains several tasks calls this once for each, with the tag ``task``; the run
        before ends.
        """
        self._end_run("FINISHED")
        self._num_finished += self._has_begun
        self._has_begun = True
        self._task = tags.get("task", self._cell.task)
        self._file.update(now=True, trained=True, note=self._task)
        if self._study is None:
            return
        try:
            self._open(self._study, key, params, tags)
        except Exception as error:  # noqa: BLE001  (tracking never ends a training)
            self._study = None
            warn_once(error)

    def _open(
        self, study: Mapping[str, str], key: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        client = make_client(study["tracking_uri"])
        record = CellRecord(key, self._cell.arm, int(self._cell.seed or 0), self._task)
        run = _find_child(client, study, record)
        if run is None:
            run = _create_child(client, study, record, tags)
        else:
            _reopen(client, run, dict(tags))
        log_new_params(client, run, params)
        self._writer = MetricWriter(client, run.info.run_id, last_steps(client, run))
        self._client, self._run = client, run

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue metrics; up to the last step of a reopened run they are there already."""
        if self._writer is not None:
            self._writer.put(metrics, step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log further parameters of the open run."""
        if self._client is None or self._run is None:
            return
        try:
            log_new_params(self._client, self._client.get_run(self._run.info.run_id), params)
        except Exception as error:  # noqa: BLE001
            warn_once(error)

    def progress(self, done: int, total: int, score: float | None = None, note: str = "") -> None:
        """Write how far the node is, over all its tasks; without a score, the last one stays.

        Before ``begin`` a finished unit (``done == total``) is a task whose result was found.
        """
        if score is not None and (self._task or self._num_tasks == 1):
            self._scores[self._task] = score
        self._file.update(
            done=min(self._num_finished, self._num_tasks - 1) * total + done,
            total=self._num_tasks * total,
            scores=self._scores,
            note=note or self._task,
        )
        if not self._has_begun and done == total:
            self._num_finished += 1

    def close(self, *, failed: bool = False) -> None:
        """Send what is queued and end the run."""
        self._file.update(now=True, state="failed" if failed else "done")
        self._end_run("FAILED" if failed else "FINISHED")

    def _end_run(self, status: str) -> None:
        writer, client, run = self._writer, self._client, self._run
        self._writer = self._client = self._run = None
        if writer is None or client is None or run is None:
            return
        writer.close()
        if writer.is_dead:
            return
        try:
            client.set_terminated(run.info.run_id, status)
        except Exception as error:  # noqa: BLE001
            warn_once(error)


def _find_child(client: MlflowClient, study: Mapping[str, str], record: CellRecord) -> Run | None:
    """By study, key and arm: two arms whose cells are equal share the key."""
    found = find_runs(
        client,
        study["experiment_id"],
        kind="cell",
        study_key=study["study_key"],
        cell_key=record.key,
        arm=record.arm,
    )
    return found[0] if found else None


def _create_child(
    client: MlflowClient, study: Mapping[str, str], record: CellRecord, tags: Mapping[str, str]
) -> Run:
    shared = {
        name: study[name] for name in ("study_key", "task_set", "env", "git_commit", "git_dirty")
    }
    own = {"arm": record.arm, "seed": str(record.seed), "cell_key": record.key}
    if record.task:
        own["task"] = record.task
    parent = {PARENT_TAG: study["parent_run_id"]}
    name = CellName(record.arm, True, record.arm, str(record.seed), record.task).title
    merged = {**shared, **tags, **own, **parent}
    return _create(client, study["experiment_id"], "cell", merged, name)


def log_study(
    study: Mapping[str, str],
    records: Sequence[CellRecord],
    report_paths: Iterable[Path] = (),
    means: Mapping[str, float] | None = None,
) -> str:
    """Complete the study's parent run and its children.

    A cell that was found finished under its key and has no run in this study gets one: a copy of
    the run it had elsewhere, or its final metrics alone.

    Args:
        study: what ``open_study`` gave.
        records: all cells of the study, in the order of the comparison.
        report_paths: files and folders that become artifacts of the parent.
        means: metric name -> value, such as ``mean/arm_4_trm/sudoku/correct``.

    Returns:
        The deep link that compares the cells; empty when the server does not answer.
    """
    try:
        client = make_client(study["tracking_uri"])
        run_ids = [_completed_child(client, study, record) for record in records]
        parent = client.get_run(study["parent_run_id"])
        log_changed_metrics(client, parent, means or {}, step=len(records))
        for path in report_paths:
            _log_artifact(client, study["parent_run_id"], path)
        return compare_url(study["tracking_uri"], study["experiment_id"], run_ids)
    except Exception as error:  # noqa: BLE001  (the report is there; only its copy is missing)
        warn_once(error)
        return ""


def _completed_child(client: MlflowClient, study: Mapping[str, str], record: CellRecord) -> str:
    run = _find_child(client, study, record)
    if run is None:
        elsewhere = find_runs(client, study["experiment_id"], cell_key=record.key, kind="cell")
        run = _create_child(client, study, record, record.tags)
        if elsewhere:
            _copy(client, elsewhere[0], run)
        client.set_terminated(run.info.run_id, "FINISHED")
        run = client.get_run(run.info.run_id)
    log_new_params(client, run, record.params)
    log_changed_metrics(client, run, record.metrics, step=max(_last_step(client, run), 0))
    return str(run.info.run_id)


def _last_step(client: MlflowClient, run: Run) -> int:
    return max(last_steps(client, run).values(), default=0)


def _copy(client: MlflowClient, source: Run, target: Run) -> None:
    log_new_params(client, target, source.data.params)
    for name in source.data.metrics:
        history = client.get_metric_history(source.info.run_id, name)
        for start in range(0, len(history), 1_000):
            client.log_batch(target.info.run_id, metrics=history[start : start + 1_000])
    for name, value in source.data.tags.items():
        if name not in target.data.tags and not name.startswith("mlflow."):
            client.set_tag(target.info.run_id, name, value)


def _log_artifact(client: MlflowClient, run_id: str, path: Path) -> None:
    if path.is_dir():
        client.log_artifacts(run_id, str(path), path.name)
    elif path.is_file():
        client.log_artifact(run_id, str(path))


def close_study(study: Mapping[str, str], *, failed: bool) -> None:
    """End the parent run."""
    try:
        client = make_client(study["tracking_uri"])
        client.set_terminated(
            study["parent_run_id"],
            "FAILED" if failed else "FINISHED",
            end_time=int(time.time() * 1000),
        )
    except Exception as error:  # noqa: BLE001
        warn_once(error)


def cell_link(study: Mapping[str, str]) -> str:
    """The deep link over all cells that the study has in MLflow, by arm, seed and task."""
    try:
        client = make_client(study["tracking_uri"])
        found = find_runs(client, study["experiment_id"], study_key=study["study_key"], kind="cell")
    except Exception as error:  # noqa: BLE001
        warn_once(error)
        return ""
    run_ids = [str(run.info.run_id) for run in sorted(found, key=_cell_order)]
    return compare_url(study["tracking_uri"], study["experiment_id"], run_ids) if run_ids else ""


def _cell_order(run: Run) -> tuple[str, int, str]:
    tags = run.data.tags
    return tags.get("arm", ""), int(tags.get("seed") or 0), tags.get("task", "")
