"""The project's own configuration, merged and checked as a run does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybrid_pipeline.kedro_ext.config_loader import ProjectConfigLoader
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    store_state,
    validate_parameters,
)
from hybrid_pipeline.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ("base", "smoke", "gpu", "t4_session", "t4")


def loader(env: str, **parameters: Any) -> ProjectConfigLoader:
    """Kedro's configuration of an environment, with ``--params``."""
    return ProjectConfigLoader(
        str(ROOT / "conf"), env=env, runtime_params=parameters, **CONFIG_LOADER_ARGS
    )


def parameters_of(env: str, **parameters: Any) -> dict[str, Any]:
    """Merged parameters as plain dictionaries."""
    return dict(loader(env, **parameters)["parameters"])


def groups_of(env: str, **parameters: Any) -> dict[str, Any]:
    """Merged parameters as models."""
    return validate_parameters(parameters_of(env, **parameters))


def pipelines_of(env: str, **parameters: Any) -> dict[str, Any]:
    """All pipelines of an environment; the state of the process is left as it was."""
    from hybrid_pipeline.pipeline_registry import register_pipelines

    store_state(ProjectState(ROOT, env, parameters_of(env, **parameters)))
    try:
        return register_pipelines()
    finally:
        store_state(None)
