"""A throw-away Kedro project on disk, importable in any process, for tests of runner and hooks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "tiny_project"
SETTINGS = """
from hybrid_pipeline.kedro_ext.parameter_hooks import ParameterHooks
from hybrid_pipeline.kedro_ext.study_hooks import STUDY_HOOKS
HOOKS = {hooks}
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
CONFIG_LOADER_ARGS = {{
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {{"mlflow": ["mlflow*"]}},
}}
"""
PARAMETERS = """
tasks:
  digits: {source: maze, num_train: 8, num_validation: 2, num_test: 2}
training: {lr_warmup_ratio: 0.1}
"""
PYPROJECT = """
[tool.kedro]
package_name = "tiny_project"
project_name = "tiny_project"
kedro_init_version = "1.7.0"
"""


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class TinyProject:
    """A project folder and how to run commands in it."""

    root: Path

    def env(self, **extra: str) -> dict[str, str]:
        """Environment of a child process."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("KEDRO_", "MLFLOW_"))}
        paths = [str(self.root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**keep, "DO_NOT_TRACK": "1", "PYTHONPATH": os.pathsep.join(paths), **extra}

    def popen(self, *args: str, **extra: str) -> subprocess.Popen[str]:
        """``kedro run`` in a process group of its own, with Ctrl-C as a terminal gives it.

        A shell starts background jobs with SIGINT ignored, and children inherit that.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", *args],
            cwd=self.root,
            env=self.env(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_default_interrupt,
        )

    def run(self, *args: str, timeout: float = 240, **extra: str) -> tuple[int, str]:
        """``kedro run`` to its end: exit code and output."""
        process = self.popen(*args, **extra)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output

    def out(self, name: str) -> Path:
        """A file among the outputs."""
        return self.root / "data" / name


def make_project(
    root: Path,
    pipeline: str,
    catalog: str,
    hooks: str = "(ParameterHooks(), *STUDY_HOOKS)",
    **conf: str,
) -> TinyProject:
    """Write the project.

    Args:
        pipeline: source of ``pipeline_registry.py``, with nodes and ``register_pipelines``.
        catalog: content of ``catalog.yml``.
        hooks: expression for ``HOOKS``.
        conf: further files of ``conf/base``, by stem.
    """
    package = root / "src" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "settings.py").write_text(SETTINGS.format(hooks=hooks))
    (package / "cli.py").write_text("from hybrid_pipeline.cli import cli\n")
    (package / "pipeline_registry.py").write_text(pipeline)
    (root / "pyproject.toml").write_text(PYPROJECT)
    for folder in ("conf/base", "conf/local", "data"):
        (root / folder).mkdir(parents=True)
    (root / "conf/base/catalog.yml").write_text(catalog)
    for stem, text in {"parameters": PARAMETERS, **conf}.items():
        (root / f"conf/base/{stem}.yml").write_text(text)
    return TinyProject(root)
