"""The merged, validated parameters of this run, for code that Kedro hands no context to.

Arms and seeds are structure: the pipeline registry must know how many there are before any node
exists. A hook stores the merged parameters (base, environment, ``--params``) when the context is
made; a Dask worker gets the same state from the driver; a command without a context (such as
``kedro registry list``) makes Kedro read them here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import (
    AblationConfig,
    ClipConfig,
    ClipPretrainingConfig,
    ConfigError,
    EvaluationConfig,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    TasksConfig,
    TrainingConfig,
    explain,
)

# Every top-level key of the parameters and the model that checks it; None: a free mapping.
PARAMETER_GROUPS: dict[str, type[BaseModel] | None] = {
    "tasks": TasksConfig,
    "rendering": RenderingConfig,
    "clip": ClipConfig,
    "clip_pretraining": ClipPretrainingConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "halting": HaltingConfig,
    "ablation": AblationConfig,
    "evaluation": EvaluationConfig,
    "claims": None,
    "review": None,
    "stability": None,
}


@dataclass(frozen=True)
class ProjectState:
    """What a process must know of the run; plain data, so that it travels to workers.

    Attributes:
        project_path: root of the project.
        env: the configuration environment, ``None`` for the default one.
        parameters: merged parameters as plain dictionaries.
        mlflow: content of ``mlflow.yml``.
        study: where cells report to, once the driver has opened the study (``tracking``).
        progress_dir: folder of the progress files of this run, once it has begun.
    """

    project_path: Path
    env: str | None
    parameters: dict[str, Any]
    mlflow: dict[str, Any] = field(default_factory=dict)
    study: dict[str, str] | None = None
    progress_dir: Path | None = None


_state: ProjectState | None = None


def store_state(state: ProjectState | None) -> None:
    """Make this the state of the process."""
    global _state
    _state = state


def current_state() -> ProjectState | None:
    """The state of the process, ``None`` outside a Kedro context."""
    return _state


def update_state(**changes: Any) -> None:
    """Replace fields of the stored state; without a state, nothing happens."""
    if _state is not None:
        store_state(replace(_state, **changes))


def current_parameters() -> dict[str, Any]:
    """The merged parameters of this run as plain dictionaries.

    Raises:
        ConfigError: outside a Kedro project.
    """
    if _state is not None:
        return _state.parameters
    return _read_parameters()


def _read_parameters() -> dict[str, Any]:
    from kedro.framework.project import settings
    from kedro.utils import find_kedro_project

    root = find_kedro_project(Path.cwd())
    if root is None:
        raise ConfigError(f"no Kedro project in {Path.cwd()} or above; run this in the project")
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(Path(root) / settings.CONF_SOURCE),
        env=os.environ.get("KEDRO_ENV"),
        **settings.CONFIG_LOADER_ARGS,
    )
    parameters = dict(loader["parameters"])
    validate_parameters(parameters)
    return parameters


def validate_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check every group against its model.

    Args:
        parameters: merged parameters, as Kedro's configuration loader gives them.

    Returns:
        Group name -> validated model, or the mapping itself for a group without a model.

    Raises:
        ConfigError: one sentence with all keys that were refused.
    """
    refused = [_unknown_group(name) for name in parameters if name not in PARAMETER_GROUPS]
    groups: dict[str, Any] = {}
    for name, model in PARAMETER_GROUPS.items():
        try:
            groups[name] = _validated_group(name, model, parameters)
        except ConfigError as error:
            refused.append(str(error).removesuffix("."))
    if refused:
        raise ConfigError("; ".join(refused) + ".")
    _check_arm(groups["training"])
    return groups


def _validated_group(
    name: str, model: type[BaseModel] | None, parameters: Mapping[str, Any]
) -> Any:
    value = parameters.get(name, {})
    if model is None:
        return _mapping(name, value)
    if name not in parameters and any(f.is_required() for f in model.model_fields.values()):
        raise ConfigError(f"missing parameter group {name!r}")
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ConfigError(explain(error, name, model)) from error


def _mapping(name: str, value: Any) -> Any:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"parameter {name!r} = {value!r} is refused: expected a mapping")
    return value


def _unknown_group(name: str) -> str:
    close = difflib.get_close_matches(str(name), PARAMETER_GROUPS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown parameter {name!r}{hint} (allowed here: {', '.join(sorted(PARAMETER_GROUPS))})"


def _check_arm(training: TrainingConfig) -> None:
    try:
        find_arm(training.arm)
    except ValueError as error:
        raise ConfigError(f"parameter 'training.arm' is refused: {error}.") from error


def check_files(parameters: Mapping[str, Any], root: Path) -> None:
    """Refuse parameters that name a file which is not there.

    Raises:
        ConfigError: naming the parameter and the path.
    """
    named = {
        f"tasks.{name}.path": task.get("path")
        for name, task in parameters.get("tasks", {}).items()
        if task.get("source") == "table"
    }
    clip = parameters.get("clip") or {}
    if clip.get("source") == "file":
        named["clip.path"] = clip.get("path")
    for key, path in named.items():
        if path and not (root / path).is_file():
            raise ConfigError(f"parameter {key!r} = {path!r} is refused: there is no such file.")
