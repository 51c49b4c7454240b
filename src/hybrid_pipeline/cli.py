"""The project's ``kedro run``: Kedro's own command with three differences.

The studies run on all cores by default; what is refused is one sentence instead of a traceback;
a finished study ends with its table and where to look further.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS
from kedro.utils import find_kedro_project

from hybrid_pipeline.cores import num_cores

DASK_RUNNER = "hybrid_pipeline.kedro_ext.dask.runner.DaskRunner"
ON_ALL_CORES = {"__default__", "ablation", "stability"}
OF_THE_ABLATION = ("summary.txt", "report.html")
REPORTS = {  # pipeline -> the text that is printed at its end, and the page to open
    "__default__": OF_THE_ABLATION,
    "ablation": OF_THE_ABLATION,
    "reporting": OF_THE_ABLATION,
    "hybrid_training": ("training_advice.txt", "training_advice.md"),
    "stability": ("stability.txt", "stability.md"),
    "hyperparameter_review": ("hyperparameter_review.txt", "hyperparameter_review.md"),
}
LOG_NAME = "last_error.log"
QUIET_LOGGERS = ("kedro", "kedro_viz", "hybrid_pipeline")


@click.group(context_settings=CONTEXT_SETTINGS, name="hybrid_pipeline")
def cli() -> None:
    """The project's commands."""


def _run(verbose: bool, **options: Any) -> Any:
    """Run pipelines."""
    os.chdir(find_kedro_project(Path.cwd()) or Path.cwd())  # parameters name paths from the root
    if options["pipeline"] and not options["pipelines"]:  # Kedro deprecates the singular
        options["pipelines"] = [options.pop("pipeline")]
        options["pipeline"] = None
    names = set(options["pipelines"] or ["__default__"])
    options["runner"] = _runner(options["runner"], names)
    if options["runner"] == "ThreadRunner":  # Kedro counts the machine's cores, not the job's
        options["runner_params"] = {"max_workers": num_cores()} | (options["runner_params"] or {})
    _set_logging(verbose)
    with _one_sentence(verbose):
        result = kedro_run.callback(**options)  # type: ignore[misc]
    reports = dict.fromkeys(REPORTS[name] for name in sorted(names & set(REPORTS)))
    if reports:
        _show_reports(list(reports))
    return result


def _runner(given: str | None, pipelines: set[str]) -> str | None:
    if given in (None, ""):
        return DASK_RUNNER if pipelines & ON_ALL_CORES else None
    return DASK_RUNNER if given == "DaskRunner" else given


run = click.Command(
    "run",
    callback=_run,
    params=[
        *kedro_run.params,
        click.Option(["--verbose"], is_flag=True, help="Show Kedro's log and full tracebacks."),
    ],
    help="Run pipelines; the ablation by default, on all cores (Dask) unless --runner is given.",
    context_settings=kedro_run.context_settings,
)
cli.add_command(run)


def _set_logging(verbose: bool) -> None:
    if verbose:
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        return
    warnings.filterwarnings("ignore", module=r"kedro.*")
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kedro_viz").setLevel(logging.ERROR)  # "tracking is off with this runner"
    for name in ("kedro.pipeline.node", "kedro.runner", "kedro.validation"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the sentence says it


@contextlib.contextmanager
def _one_sentence(verbose: bool) -> Iterator[None]:
    """End a failed run with one sentence on standard error; the traceback goes to a file.

    Exit code 1, or 130 after Ctrl-C.
    """
    from hybrid_pipeline.kedro_ext.study_hooks import stop_display

    try:
        yield
    except click.ClickException:
        raise
    except KeyboardInterrupt:
        stop_display()
        _say("stopped; finished cells and checkpoints are kept, the same command goes on.")
        sys.exit(130)
    except Exception as error:
        stop_display()
        if verbose:
            raise
        _say(sentence(error) + _keep_traceback())
        sys.exit(1)
    finally:
        stop_display()


def sentence(error: Exception) -> str:
    """An exception as one line for a person.

    What the project or Kedro refuses on purpose is its own message; anything else is named with
    its type. The node is named where a node raised.
    """
    from hybrid_pipeline.kedro_ext.dask.runner import NodeFailedError
    from hybrid_pipeline.kedro_ext.study_hooks import last_failed_node

    text = " ".join(str(error).split()) or type(error).__name__
    node = last_failed_node()
    if not isinstance(error, _refusals()):
        text = f"{type(error).__name__}: {text}"
    if node is not None and not isinstance(error, NodeFailedError):
        text = f"node {node!r} failed: {text}"
    return text


def _refusals() -> tuple[type[Exception], ...]:
    from kedro.config import MissingConfigException
    from kedro.io import DatasetError

    from hybrid_pipeline.kedro_ext.dask.cluster import RunnerError
    from hybrid_pipeline.kedro_ext.dask.runner import NodeFailedError
    from hybrid_pipeline.storage import LockedError, UnlockableError

    of_kedro = (DatasetError, MissingConfigException)
    of_locks = (LockedError, UnlockableError)
    return (ValueError, FileNotFoundError, RunnerError, NodeFailedError, *of_kedro, *of_locks)


def _say(text: str) -> None:
    click.secho(text, err=True, fg="red" if sys.stderr.isatty() else None)


def _keep_traceback() -> str:
    """Write the traceback to a file; returns the sentence that says where."""
    from hybrid_pipeline.kedro_ext.project_parameters import current_state

    state = current_state()
    if state is None:
        return ""
    path = state.data_dir / "07_model_output" / LOG_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return ""
    return f" (traceback: {_shown(path, state.project_path)})"


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _show_reports(reports: list[tuple[str, str]]) -> None:
    """Print what this run found and where to look further.

    Args:
        reports: names of a text and of a page in the folder of the reports.
    """
    from hybrid_pipeline.kedro_ext.project_parameters import current_state
    from hybrid_pipeline.kedro_ext.study_hooks import COMPARE_FILE, reports_of_run
    from hybrid_pipeline.kedro_ext.tracking.store import tracking_uri, ui_command

    state = current_state()
    if state is None or state.reporting_dir is None:
        return
    folder, root, written = state.reporting_dir, state.project_path, reports_of_run()
    for text, page in reports:
        if text in written and (folder / text).is_file():
            click.echo((folder / text).read_text("utf-8").rstrip())
        if page in written and (folder / page).is_file():
            click.echo(f"\nReport:  {_shown(folder / page, root)}")
    if state.study is not None:
        command = ui_command(tracking_uri(state.mlflow, root), root)
        if command:
            click.echo(f"MLflow:  {command}")
        if OF_THE_ABLATION[1] in written and (folder / COMPARE_FILE).is_file():
            click.echo(f"Compare: {(folder / COMPARE_FILE).read_text('utf-8').strip()}")
