"""The project's ``kedro run``: Kedro's own command with three differences.

The studies run on all cores by default; what is refused is one sentence that says what exists; a
finished study ends with its table and where to look further.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import importlib.util
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

import click
from kedro.framework.cli.jupyter import jupyter as kedro_jupyter
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
    "data_rendering": ("data.txt", "data.md"),
    "hybrid_training": ("training_advice.txt", "training_advice.md"),
    "stability": ("stability.txt", "stability.md"),
    "hyperparameter_review": ("hyperparameter_review.txt", "hyperparameter_review.md"),
}
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # kedro viz, each time
LOG_NAME = "last_error.log"
QUIET_LOGGERS = ("kedro", "kedro_viz", "hybrid_pipeline")
NOTHING_SELECTED = r"Pipeline (contains no nodes|does not contain)|Failed to find the pipeline"
NEEDED = {"notebook": "notebook", "lab": "jupyterlab", "setup": "ipykernel"}


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
    _set_logging(verbose)
    with _one_sentence(verbose, options):
        _check(options)
        options["runner"] = _runner(options["runner"], names)
        if options["runner"] == "ThreadRunner":  # Kedro counts the machine's cores, not the job's
            params = options["runner_params"] or {}
            options["runner_params"] = {"max_workers": num_cores()} | params
        result = kedro_run.callback(**options)  # type: ignore[misc]
    reports = dict.fromkeys(REPORTS[name] for name in sorted(names & set(REPORTS)))
    with _printed():
        if reports:
            _show_reports(list(reports))
    return result


def _check(options: Mapping[str, Any]) -> None:
    """Refuse what does not exist before anything is loaded."""
    from kedro.utils import load_obj

    from hybrid_pipeline.kedro_ext.selection import (
        check_environment,
        check_runner,
        check_runner_params,
    )

    conf = Path(options["conf_source"] or "conf")
    check_environment(options["env"] or os.environ.get("KEDRO_ENV"), conf)
    check_runner(options["runner"])
    if options["runner_params"]:
        name = _runner(options["runner"], set(options["pipelines"] or ["__default__"]))
        runner = load_obj(name or "SequentialRunner", "kedro.runner")
        check_runner_params(runner, options["runner_params"])


def _runner(given: str | None, pipelines: set[str]) -> str | None:
    if given in (None, ""):
        return DASK_RUNNER if pipelines & ON_ALL_CORES else None
    return DASK_RUNNER if given == "DaskRunner" else given


def _in_one_sentence(option: click.Parameter) -> click.Parameter:
    """The option ``--params``, whose value Kedro reads as YAML, without its tracebacks."""
    given = option.callback
    if option.name != "params" or given is None:
        return option

    def read(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        from hybrid_pipeline.kedro_ext.config_loader import yaml_refusal

        try:
            return given(ctx, param, value)
        except (YAMLError, OmegaConfBaseException, ValueError) as error:
            raise click.BadParameter(f"{value!r}: {yaml_refusal(error)}.", ctx, param) from error

    guarded = copy.copy(option)
    guarded.callback = read
    return guarded


run = click.Command(
    "run",
    callback=_run,
    params=[
        *map(_in_one_sentence, kedro_run.params),
        click.Option(["--verbose"], is_flag=True, help="Show Kedro's log and full tracebacks."),
    ],
    help="Run pipelines; the ablation by default, on all cores (Dask) unless --runner is given.",
    context_settings=kedro_run.context_settings,
)
cli.add_command(run)


def _check_jupyter(context: click.Context) -> None:
    """Open the project in Jupyter."""
    name = context.invoked_subcommand or ""
    package = NEEDED.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise click.ClickException(
            f"'kedro jupyter {name}' needs the package {package!r}, which is not installed here: "
            f"{sys.executable} -m pip install {package}"
        )


cli.add_command(
    click.Group("jupyter", kedro_jupyter.commands, callback=click.pass_context(_check_jupyter))
)


def _set_logging(verbose: bool) -> None:
    if verbose:
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        return
    logging.raiseExceptions = False  # a log line that cannot be written is no traceback
    warnings.filterwarnings("ignore", module=r"kedro.*")
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kedro_viz").setLevel(logging.ERROR)  # "tracking is off with this runner"
    for name in ("kedro.pipeline.node", "kedro.runner", "kedro.validation"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the sentence says it


@contextlib.contextmanager
def _printed() -> Iterator[None]:
    """Say on standard error where standard output is full: the work itself is done."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:  # ``| head``: click ends the command in silence
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the exit
        _say(f"the run is done and its files are written, but its summary was not: {error}.")
        sys.exit(1)


@contextlib.contextmanager
def _one_sentence(verbose: bool, options: Mapping[str, Any]) -> Iterator[None]:
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
        _say("stopped; finished cells and checkpoints are kept: run the same command to resume.")
        sys.exit(130)
    except Exception as error:
        stop_display()
        if verbose:
            raise
        unknown = _nothing_selected(error, options)
        _say(unknown or sentence(error) + _keep_traceback())
        sys.exit(1)
    finally:
        stop_display()


def _nothing_selected(error: Exception, options: Mapping[str, Any]) -> str | None:
    """What exists, where Kedro found no node or no pipeline that was asked for."""
    if not re.match(NOTHING_SELECTED, str(error)):
        return None
    from kedro.framework.project import pipelines

    from hybrid_pipeline.kedro_ext.selection import explain_selection

    names = options["pipelines"] or ["__default__"]
    registered = set(pipelines)
    found = {name: pipelines[name] for name in names if name in registered}
    return explain_selection(options, found, registered)


def sentence(error: Exception) -> str:
    """An exception as one line for a person.

    What the project or Kedro refuses on purpose is its own message; anything else is named with
    its type. The node is named if a node raised.
    """
    from hybrid_pipeline.kedro_ext.dask.runner import NodeFailedError
    from hybrid_pipeline.kedro_ext.study_hooks import last_failed_node

    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
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
    from hybrid_pipeline.kedro_ext.tracking.charts import link_of
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
        if COMPARE_FILE in written:
            click.echo(f"Compare: {link_of((folder / COMPARE_FILE).read_text('utf-8'))}")
