"""A hook that checks all parameters before anything else and keeps them for the registry."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl

from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    current_state,
    store_state,
    validate_parameters,
    without_removed_tasks,
)
from hybrid_pipeline.kedro_ext.run_checks import check_run


class ParameterHooks:
    """Stores the merged parameters (``--env`` and ``--params`` included) once they are valid."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Validate every parameter group and make it readable for ``register_pipelines``.

        Raises:
            ConfigError: in one sentence, before any pipeline or dataset exists.
        """
        parameters = without_removed_tasks(context.config_loader["parameters"])
        validate_parameters(parameters)
        before = current_state()
        store_state(
            ProjectState(
                project_path=context.project_path,
                env=context.env,
                parameters=parameters,
                mlflow=_mlflow_settings(context.config_loader),
                overrides=dict(context.config_loader.runtime_params or {}),
            )
        )
        if before is not None and before.parameters != parameters:
            _forget_pipelines()

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any) -> None:
        """Refuse what the nodes of this run could not use, before the first of them."""
        state = current_state()
        if state is not None:
            runner = str(run_params.get("runner"))
            check_run(state.parameters, state.project_path, pipeline.nodes, runner)


def _mlflow_settings(config_loader: Any) -> dict[str, Any]:
    from kedro.config import MissingConfigException

    try:
        return dict(config_loader["mlflow"])
    except (MissingConfigException, KeyError):
        return {}


def _forget_pipelines() -> None:
    """Pipelines made from the parameters of an earlier context are stale."""
    from kedro.framework import project

    project.pipelines.configure(f"{project.PACKAGE_NAME}.pipeline_registry")
