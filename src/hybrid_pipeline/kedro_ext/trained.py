"""Find a trained arm by its name, through the study that trained it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    validate_parameters,
    without_removed_tasks,
)
from hybrid_pipeline.kedro_ext.study_folder import study_name
from hybrid_pipeline.storage import Workspace, read_json

if TYPE_CHECKING:
    from hybrid_pipeline.prediction import TrainedArm
    from hybrid_pipeline.training.handles import TaskHandle
    from hybrid_pipeline.training.result import CellResult


def load_arm(
    arm: str,
    task: str,
    *,
    seed: int | None = None,
    env: str | None = None,
    project: Path | str = ".",
    params: dict[str, Any] | None = None,
) -> TrainedArm:
    """A trained arm of a finished study, ready to answer new examples.

    Args:
        arm: its name, such as ``arm_4_trm``.
        task: that it was trained on.
        seed: of the cell; the first if left out.
        env: the study's configuration environment.
        project: root of the project.
        params: what the study was given with ``--params``.

    Raises:
        FileNotFoundError: if there is no such study.
        ValueError: if the study has no such cell, naming those that it has.
    """
    root = Path(project).resolve()
    parameters = _parameters(root, env, params)
    state = ProjectState(root, env, parameters)
    outputs = state.data_dir / "07_model_output" / study_name(env, parameters)
    found = _result(outputs, arm, task, seed)
    return open_trained(found, _handle(outputs, task), state)[0]


def open_trained(
    found: CellResult, handle: TaskHandle, state: ProjectState
) -> tuple[TrainedArm, Path]:
    """The arm of a finished cell, and the file of its weights.

    Args:
        found: the cell.
        handle: names of the task's table, views and features.
        state: the parameters that it was trained with, and where its data lie.
    """
    from hybrid_pipeline.prediction import WEIGHTS, load_trained
    from hybrid_pipeline.training.preparation import open_task_data

    groups = validate_parameters(state.parameters)
    storage = groups["storage"].model_copy(update={"root": str(state.data_dir)})
    data = open_task_data(handle, storage, random_tower=find_arm(found.arm).tower == "random")
    folder = Workspace(storage.root).cells / found.key
    arm = load_trained(found.arm, folder, data, groups["model"], seed=found.seed)
    return arm, folder / WEIGHTS


def _parameters(root: Path, env: str | None, params: dict[str, Any] | None) -> dict[str, Any]:
    from kedro.framework.project import settings
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(root)
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(root / settings.CONF_SOURCE),
        env=env,
        runtime_params=params or {},
        **settings.CONFIG_LOADER_ARGS,
    )
    return without_removed_tasks(dict(loader["parameters"]))


def _result(outputs: Path, arm: str, task: str, seed: int | None) -> CellResult:
    from hybrid_pipeline.training.result import Cell, finished_results, longest

    path = outputs / "cells.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no finished study in {outputs}: run the ablation with these parameters, or "
            "name the env and params of the one that you mean"
        )
    cells = [Cell.model_validate(cell) for cell in read_json(path)]
    results = [r for r in finished_results(cells) if r.length == longest(cells)]
    wanted = sorted(
        (r for r in results if (r.arm, r.task) == (arm, task) and seed in (None, r.seed)),
        key=lambda r: r.seed,
    )
    if not wanted:
        known = sorted({f"{r.arm} on {r.task}, seed {r.seed}" for r in results})
        which = f"{arm} on {task}" + ("" if seed is None else f", seed {seed}")
        raise ValueError(f"this study has no {which}; it has {'; '.join(known)}")
    return wanted[0]


def _handle(outputs: Path, task: str) -> TaskHandle:
    """The task's table, views and features, as the report names their keys."""
    from hybrid_pipeline.training.handles import TaskHandle

    keys = read_json(outputs / "report_inputs.json")["provenance"]["keys"][task]
    return TaskHandle.model_validate({"task": task, **keys})
