"""The project's own configuration, merged and checked as a run does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.kedro_ext.config_loader import ProjectConfigLoader
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    store_state,
    validate_parameters,
)
from hybrid_pipeline.settings import CONFIG_LOADER_ARGS

if TYPE_CHECKING:
    from kedro.io import DataCatalog

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


@contextmanager
def in_a_run(env: str, **parameters: Any) -> Iterator[None]:
    """The state of a process that runs the project; left as it was afterwards."""
    store_state(ProjectState(ROOT, env, parameters_of(env, **parameters)))
    try:
        yield
    finally:
        store_state(None)


def pipelines_of(env: str, **parameters: Any) -> dict[str, Any]:
    """All pipelines of an environment."""
    from hybrid_pipeline.pipeline_registry import register_pipelines

    with in_a_run(env, **parameters):
        return register_pipelines()


@cache
def catalog_of(env: str) -> DataCatalog:
    """The catalog of an environment, as a run makes it; shared, so to be read only."""
    from kedro.io import DataCatalog

    with in_a_run(env):
        return DataCatalog.from_config(loader(env)["catalog"])
