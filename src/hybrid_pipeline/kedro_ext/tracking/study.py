"""A study in MLflow: one parent run, one nested child per cell, found again by their keys.

Only the driver talks to MLflow: a ``StudyRecorder`` thread sends what the cells write to the
spool, and ``log_study`` completes the study with the arms' means and the report. A tracking server
that does not answer costs one warning and no result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.checkout import read_checkout
from hybrid_pipeline.kedro_ext.progress import CellName
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.kedro_ext.tracking.history import History
from hybrid_pipeline.kedro_ext.tracking.store import (
    check_tracking_uri,
    find_runs,
    last_steps,
    log_changed_metrics,
    log_in_batches,
    log_new_params,
    log_points,
    make_client,
    tracking_uri,
)
from hybrid_pipeline.storage import content_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# What makes two runs of the pipeline the same study; more seeds or arms extend it.
STUDY_GROUPS = ("tasks", "rendering", "clip", "model", "training", "halting")
PARENT_TAG = "mlflow.parentRunId"
MAX_DIGEST_CHARACTERS = 36  # MLflow's


class TrackingError(RuntimeError):
    """Nothing can be tracked as things stand; the message is one sentence for a person."""


@dataclass(frozen=True)
class DatasetRecord:
    """The task table of a cell.

    Attributes:
        name: of the task.
        digest: content key of the table.
        path: where the table lies, relative to the project.
        profile: rows per split and the like.
    """

    name: str
    digest: str
    path: str
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedCell:
    """One cell on one task, as MLflow shows it.

    Attributes:
        key: content key of the cell.
        arm: name of the arm.
        seed: seed of the cell.
        task: name of the task.
        metrics: final metrics, such as ``final/test_score``.
        params: resolved parameters of the cell.
        tags: further tags, such as ``tower``, ``length`` and ``data_key``.
        dataset: what it was trained on.
        history: its curves and parameters as they were kept, asked for only if no run has them.
    """

    key: str
    arm: str
    seed: int
    task: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    dataset: DatasetRecord | None = None
    history: Callable[[], History] | None = None


@dataclass(frozen=True)
class TrackedStudy:
    """An open study.

    Attributes:
        client: MLflow's client.
        uri: tracking URI.
        experiment_id: of all runs.
        parent_run_id: of the study's own run.
        tags: what all runs of the study share; ``study_key`` among them.
    """

    client: MlflowClient
    uri: str
    experiment_id: str
    parent_run_id: str
    tags: Mapping[str, str]


def study_key(parameters: Mapping[str, Any]) -> str:
    """The key of a study: equal data, model and training, whatever the number of arms and seeds."""
    groups = {name: dict(parameters.get(name) or {}) for name in STUDY_GROUPS}
    for name in ("arm", "seed"):  # read only by hybrid_training
        groups["training"].pop(name, None)
    return content_key(groups)


def study_tags(state: ProjectState) -> dict[str, str] | None:
    """Tags that all runs of the study share; ``None`` when tracking is switched off.

    Raises:
        ConfigError: for a store that MLflow no longer writes to.
    """
    if not state.mlflow.get("enabled", True):
        return None
    check_tracking_uri(tracking_uri(state.mlflow, state.project_path))
    checkout = read_checkout(state.project_path)
    return {
        "study_key": study_key(state.parameters),
        "task_set": ",".join(sorted(state.parameters.get("tasks", {}))),
        "env": state.env or "base",
        "git_commit": checkout.commit,
        "git_dirty": checkout.dirty_word,
    }


def open_study(state: ProjectState, tags: Mapping[str, str]) -> TrackedStudy:
    """Find or make the experiment and the study's parent run.

    Raises:
        Exception: whatever MLflow raises when it does not answer.
    """
    uri = tracking_uri(state.mlflow, state.project_path)
    client = make_client(uri)
    experiment_id = _experiment(client, state, uri)
    found = find_runs(client, experiment_id, study_key=tags["study_key"], kind="study")
    parent = found[0] if found else create_run(client, experiment_id, "study", tags)
    if not found:
        _adopt(client, experiment_id, tags["study_key"], str(parent.info.run_id))
    reopen(client, parent, tags)
    log_new_params(client, parent, state.parameters)
    return TrackedStudy(client, uri, experiment_id, str(parent.info.run_id), tags)


def _adopt(client: MlflowClient, experiment_id: str, key: str, parent_run_id: str) -> None:
    """Give the runs of a study whose own run was deleted to the new one."""
    for run in find_runs(client, experiment_id, study_key=key):
        if run.data.tags.get("kind") != "study":
            client.set_tag(run.info.run_id, PARENT_TAG, parent_run_id)


def _experiment(client: MlflowClient, state: ProjectState, uri: str) -> str:
    name = str(state.mlflow.get("experiment", "hybrid_pipeline"))
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment {name!r} was deleted; restore it with "
            f"'MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id "
            f"{found.experiment_id}' or name another one in conf/base/mlflow.yml"
        )
    if found is not None:
        return str(found.experiment_id)
    location = None if uri.startswith("http") else state.project_path / "mlartifacts"
    return str(client.create_experiment(name, location.as_uri() if location else None))


def create_run(
    client: MlflowClient, experiment_id: str, kind: str, tags: Mapping[str, str], name: str = ""
) -> Run:
    """A new run of a kind: ``study``, ``arm`` or ``cell``."""
    label = name or f"{kind} {tags['study_key'][:8]}"
    run = client.create_run(experiment_id, tags={**tags, "kind": kind}, run_name=label)
    return client.get_run(run.info.run_id)


def reopen(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    """Set a run to RUNNING and bring its tags up to date."""
    run_id = run.info.run_id
    if run.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
    known = run.data.tags
    set_tags(client, run_id, {name: v for name, v in tags.items() if known.get(name) != v})


def set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, all at once."""
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def open_cell(study: TrackedStudy, record: TrackedCell, tags: Mapping[str, str]) -> Run:
    """Find or make the run of a cell.

    Args:
        study: the open study.
        record: the cell.
        tags: shared tags of the study.
    """
    run = find_child(study, record, tags["study_key"])
    if run is not None:
        reopen(study.client, run, record.tags)
        return run
    return create_child(study, record, {**tags, PARENT_TAG: study.parent_run_id})


def find_child(study: TrackedStudy, record: TrackedCell, key_of_study: str) -> Run | None:
    """By study, key and arm: two arms whose cells are equal share the key."""
    wanted = {"study_key": key_of_study, "cell_key": record.key, "arm": record.arm}
    found = find_runs(study.client, study.experiment_id, kind="cell", **wanted)
    return found[0] if found else None


def create_child(study: TrackedStudy, record: TrackedCell, tags: Mapping[str, str]) -> Run:
    """A new run for a cell; ``tags`` hold the parent."""
    own = {"arm": record.arm, "seed": str(record.seed), "cell_key": record.key}
    if record.task:
        own["task"] = record.task
    length = float(record.tags.get("length", 1.0))
    name = CellName(record.arm, True, record.arm, str(record.seed), record.task, length).title
    merged = {**tags, **record.tags, **own}
    return create_run(study.client, study.experiment_id, "cell", merged, name)


def log_study(
    study: TrackedStudy,
    records: Sequence[TrackedCell],
    report_paths: Iterable[Path] = (),
    means: Mapping[str, float] | None = None,
) -> list[str]:
    """Complete the study's parent run and its children.

    A cell that was found finished under its key and has no run in this study gets one: a copy of
    the run it had elsewhere, or what its folder kept of its training.

    Args:
        study: the open study.
        records: all cells of the study, in the order of the comparison.
        report_paths: files and folders that become artifacts of the parent.
        means: metric name -> value, such as ``mean/arm_4_trm/sudoku/test_score``.

    Returns:
        The ids of the cells' runs.
    """
    run_ids = [_completed_child(study, record) for record in records]
    parent = study.client.get_run(study.parent_run_id)
    log_changed_metrics(study.client, parent, means or {}, step=len(records))
    for path in report_paths:
        _log_artifact(study.client, study.parent_run_id, path)
    return run_ids


def _completed_child(study: TrackedStudy, record: TrackedCell) -> str:
    client = study.client
    run = find_child(study, record, study.tags["study_key"])
    if run is None:
        elsewhere = find_runs(client, study.experiment_id, cell_key=record.key, kind="cell")
        run = create_child(study, record, {**study.tags, PARENT_TAG: study.parent_run_id})
        if elsewhere:
            _copy(client, elsewhere[0], run)
        elif record.history is not None:
            history = record.history()
            log_new_params(client, run, history.params)
            log_points(client, run, history.points)
        client.set_terminated(run.info.run_id, "FINISHED")
        run = client.get_run(run.info.run_id)
    log_new_params(client, run, record.params)
    set_tags(client, str(run.info.run_id), record.tags)
    if record.dataset is not None and not (run.inputs and run.inputs.dataset_inputs):
        _log_dataset(client, run, record.dataset)
    step = max(last_steps(client, run).values(), default=0)
    log_changed_metrics(client, run, record.metrics, step=step)
    return str(run.info.run_id)


def _copy(client: MlflowClient, source: Run, target: Run) -> None:
    log_new_params(client, target, source.data.params)
    for name in source.data.metrics:
        history = client.get_metric_history(source.info.run_id, name)
        log_in_batches(client, str(target.info.run_id), history)
    for name, value in source.data.tags.items():
        if name not in target.data.tags and not name.startswith("mlflow."):
            client.set_tag(target.info.run_id, name, value)


def _log_dataset(client: MlflowClient, run: Run, dataset: DatasetRecord) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=dataset.name,
        digest=dataset.digest[:MAX_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": dataset.path}),
        profile=json.dumps(dict(dataset.profile)),
    )
    used = DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
    client.log_inputs(run.info.run_id, [used])


def _log_artifact(client: MlflowClient, run_id: str, path: Path) -> None:
    """A file, or the files of a folder without hidden ones, such as notes of checksums."""
    if path.is_file():
        client.log_artifact(run_id, str(path))
    for file in sorted(path.glob("[!.]*")) if path.is_dir() else ():
        client.log_artifact(run_id, str(file), path.name)


def close_study(study: TrackedStudy, *, failed: bool) -> None:
    """End the parent run."""
    status = "FAILED" if failed else "FINISHED"
    study.client.set_terminated(study.parent_run_id, status, end_time=int(time.time() * 1000))
