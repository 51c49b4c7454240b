"""The merged, validated parameters of this run, for code that Kedro hands no context to.

Arms and seeds are structure: the pipeline registry must know how many there are before any node
exists. A hook stores the merged parameters (base, environment, ``--params``) when the context is
made; a Dask worker gets the same state from the driver; a command without a context (such as
``kedro registry list``) makes Kedro read them here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hybrid_pipeline.arms import arms_of_design, find_arm
from hybrid_pipeline.components import load_components
from hybrid_pipeline.config import (
    AblationConfig,
    ClipConfig,
    ClipPretrainingConfig,
    ConfigError,
    EvaluationConfig,
    HaltingConfig,
    ModelConfig,
    PluginsConfig,
    RenderingConfig,
    ReviewConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
    at_home,
    explain,
    suggestion,
    without_removed,
)
from hybrid_pipeline.features.sources import load_tower_sources, origin_of
from hybrid_pipeline.plugins import load_plugins
from hybrid_pipeline.tasks import TasksConfig


def _claims_model() -> type[BaseModel]:
    from hybrid_pipeline.claims.claims import Claims  # scipy: not for every command

    return Claims


# Every top-level key of the parameters; the model that checks it, or a function that gives it.
PARAMETER_GROUPS: dict[str, Any] = {
    "plugins": PluginsConfig,
    "tasks": TasksConfig,
    "rendering": RenderingConfig,
    "clip": ClipConfig,
    "clip_pretraining": ClipPretrainingConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "halting": HaltingConfig,
    "ablation": AblationConfig,
    "evaluation": EvaluationConfig,
    "review": ReviewConfig,
    "stability": StabilityConfig,
    "storage": StorageConfig,
    "claims": _claims_model,
}
REQUIRED_GROUPS = ("tasks",)


@dataclass(frozen=True)
class ProjectState:
    """What a process must know of the run; plain data, so that it travels to workers.

    Attributes:
        project_path: root of the project.
        env: the configuration environment, ``None`` for the default one.
        parameters: merged parameters as plain dictionaries.
        mlflow: content of ``mlflow.yml``.
        study: tags that all cells of the study share, once the run has begun; ``None`` without
            tracking.
        progress_dir: folder of the progress files of this run, once it has begun.
        reporting_dir: where the report lies, once it is known.
        overrides: what ``--params`` gave.
    """

    project_path: Path
    env: str | None
    parameters: dict[str, Any]
    mlflow: dict[str, Any] = field(default_factory=dict)
    study: dict[str, str] | None = None
    progress_dir: Path | None = None
    reporting_dir: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        """The data folder: parameter ``storage.root``, relative to the project."""
        storage = self.parameters.get("storage") or {}
        return self.project_path / at_home(str(storage.get("root", "data")))


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
    conf = Path(root) / settings.CONF_SOURCE
    written = frozenset((path, path.stat().st_mtime_ns) for path in conf.rglob("*.yml"))
    return _parameters_of(conf, os.environ.get("KEDRO_ENV"), written)


@lru_cache(maxsize=1)
def _parameters_of(conf: Path, env: str | None, _written: frozenset[Any]) -> dict[str, Any]:
    """Without hooks (plain ``kedro viz``) every path of the catalog asks for them."""
    from kedro.framework.project import settings

    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(conf), env=env, **settings.CONFIG_LOADER_ARGS
    )
    parameters = without_removed_tasks(loader["parameters"])
    validate_parameters(parameters)
    return parameters


def without_removed_tasks(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without the tasks that an environment set to ``null``."""
    kept = dict(parameters)
    return kept | {"tasks": without_removed(kept["tasks"])} if kept.get("tasks") else kept


def validate_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check every group against its model.

    Args:
        parameters: merged parameters, as Kedro's configuration loader gives them.

    Returns:
        Group name -> validated model; an empty mapping for a group that is not there.

    Raises:
        ConfigError: one sentence with all keys that were refused.
    """
    refused = [
        f"unknown parameter {name!r}{suggestion(str(name), PARAMETER_GROUPS)}"
        for name in parameters
        if name not in PARAMETER_GROUPS
    ]
    load_own_plugins(parameters)
    groups: dict[str, Any] = {}
    for name in PARAMETER_GROUPS:
        try:
            groups[name] = _validated_group(name, parameters)
        except ConfigError as error:
            refused.append(str(error).removesuffix("."))
    if refused:
        raise ConfigError("; ".join(refused) + ".")
    _check_controls(groups["ablation"])
    _check_arm("training", groups["training"])
    _check_arm("stability", groups["stability"])
    _check_patches(groups["model"], groups["rendering"])
    return groups


def load_own_plugins(parameters: Mapping[str, Any]) -> None:
    """Import the user's modules in this process: what they register can then be configured.

    Raises:
        ConfigError: naming a module that cannot be imported, or what clashes in it.
    """
    named = _validated_group("plugins", parameters) if "plugins" in parameters else {}
    modules = load_plugins(named.root if isinstance(named, PluginsConfig) else ())
    try:
        load_components(modules)
        load_tower_sources(modules)
    except ValueError as error:
        raise ConfigError(f"parameter 'plugins' is refused: {error}.") from error


def _validated_group(name: str, parameters: Mapping[str, Any]) -> Any:
    if name not in parameters:
        if name in REQUIRED_GROUPS:
            raise ConfigError(f"missing parameter group {name!r}")
        return {}
    source, value = PARAMETER_GROUPS[name], parameters[name]
    model: type[BaseModel] = source if isinstance(source, type) else source()
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ConfigError(explain(error, name, model)) from error


def _check_controls(ablation: AblationConfig | dict[str, Any]) -> None:
    try:
        arms_of_design(ablation or AblationConfig())  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"parameter 'ablation.controls' is refused: {error}.") from error


def _check_arm(name: str, group: TrainingConfig | StabilityConfig | dict[str, Any]) -> None:
    if isinstance(group, dict):
        return
    try:
        find_arm(group.arm)
    except ValueError as error:
        raise ConfigError(f"parameter '{name}.arm' is refused: {error}.") from error


def _check_patches(
    model: ModelConfig | dict[str, Any], rendering: RenderingConfig | dict[str, Any]
) -> None:
    patch = (model or ModelConfig()).vit.patch_size  # type: ignore[union-attr]
    size = (rendering or RenderingConfig()).image_size  # type: ignore[union-attr]
    if size % patch:
        raise ConfigError(
            f"parameter 'model.vit.patch_size' = {patch} is refused: it must divide "
            f"rendering.image_size {size}."
        )


def check_files(parameters: Mapping[str, Any], root: Path) -> None:
    """Refuse parameters that name a file which is not there.

    Raises:
        ConfigError: naming the parameter and the path.
    """
    tasks = TasksConfig.model_validate(parameters["tasks"]).root if "tasks" in parameters else {}
    named: dict[str, Any] = {
        f"tasks.{name}.{key}": path
        for name, task in tasks.items()
        for key, path in task.files.items()
    }
    clip = ClipConfig.model_validate(parameters.get("clip") or {})
    named |= {f"clip.{key}": getattr(clip, key) for key in origin_of(clip).files}
    for key, path in named.items():
        if path and not (root / at_home(path)).exists():
            raise ConfigError(f"parameter {key!r} = {path!r} is refused: there is no such file.")
