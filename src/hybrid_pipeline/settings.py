"""Kedro's settings of the project: hooks, and how configuration environments merge."""

import os
import warnings

from hybrid_pipeline.kedro_ext.config_loader import ProjectConfigLoader
from hybrid_pipeline.kedro_ext.parameter_hooks import ParameterHooks
from hybrid_pipeline.kedro_ext.study_folder import current_study, kept, reference_folder
from hybrid_pipeline.kedro_ext.study_hooks import STUDY_HOOKS
from hybrid_pipeline.kedro_ext.study_lock import LockHooks

os.environ.setdefault("DO_NOT_TRACK", "1")  # kedro-telemetry asks for it at every command

# A dataset of another namespace has a dotted name wherever it is read; Kedro says so every time.
warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
warnings.filterwarnings("ignore", message=r"\s*register_new_resolver\(\) is deprecated")

HOOKS = (LockHooks(), ParameterHooks(), *STUDY_HOOKS)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # soft: an environment or --params changes single keys and keeps their siblings
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "custom_resolvers": {
        "study": current_study,
        "reference": reference_folder,
        "kept": kept,
    },
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
