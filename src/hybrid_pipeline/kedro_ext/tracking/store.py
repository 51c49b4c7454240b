"""A thin layer over the MLflow client: runs found by tags, quick failure, nothing logged twice.

MLflow is imported only when a study is opened: it takes seconds.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.storage import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

DEFAULT_URI = "sqlite:///mlflow.db"
MAX_PARAMS_A_BATCH = 100
MAX_METRICS_A_BATCH = 500
MAX_PARAM_CHARACTERS = 500
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}

logger = logging.getLogger(__name__)


def tracking_uri(mlflow_settings: Mapping[str, Any], root: Path) -> str:
    """``MLFLOW_TRACKING_URI`` or that of ``mlflow.yml``; sqlite files relative to the project."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or str(
        mlflow_settings.get("tracking_uri", DEFAULT_URI)
    )
    database = database_of(uri)
    if database is None:
        return uri
    _, mark, query = uri.partition("?")
    return sqlite_uri(root / database.expanduser()) + mark + query


def check_tracking_uri(uri: str) -> None:
    """Refuse a folder as a store before any work: MLflow 3 writes to databases and servers only.

    Raises:
        ConfigError: naming the URI and what is allowed.
    """
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri or ":" in uri else ""
    if scheme in ("", "file"):
        raise ConfigError(
            f"the MLflow tracking URI {uri!r} is refused: it is a folder, which MLflow no longer "
            f"writes to; allowed here: {DEFAULT_URI}, another database, or http://host:port "
            "(MLFLOW_TRACKING_URI or conf/base/mlflow.yml)."
        )


def sqlite_uri(path: Path) -> str:
    """The URI of a database file, quoted as SQLAlchemy's ``URL.render_as_string`` does.

    Unquoted, ``%20`` in the name of a folder would be read as a blank and ``?`` would end the path.
    A quoted path names SQLAlchemy's driver too: of ``sqlite:///`` MLflow makes the folder that the
    quoted text spells.
    """
    quoted = quote(str(path), safe=" +/")
    return f"sqlite{'' if quoted == str(path) else '+pysqlite'}:///{quoted}"


def database_of(uri: str) -> Path | None:
    """The file that an sqlite URI names; ``None`` for a server, another database or memory."""
    named = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]+)(\?.*)?", uri)
    if named is None or named[1].startswith((":memory:", "file:")):
        return None
    return Path(unquote(named[1]))


def make_client(uri: str) -> MlflowClient:
    """A client that gives up on a dead server within seconds instead of minutes."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    database = database_of(uri)
    if database is not None and not database.exists():
        _create_database(database)
    return MlflowClient(tracking_uri=uri)


def _create_database(path: Path) -> None:
    """Put an empty MLflow database in place as a whole.

    MLflow makes its tables by dozens of migrations, each with its own commit, and neither ``mlflow
    ui`` nor a client opens a database whose creation was killed between two of them. A lock and a
    renaming do it, which file systems without hard links have as well.
    """
    from mlflow import MlflowClient

    lock = path.with_name(f".{path.name}.lock")
    with locked(lock):
        if path.exists():  # another process was faster: its database stays
            return
        for left in path.parent.glob(f"{glob.escape(path.name)}.*/{glob.escape(path.name)}"):
            shutil.rmtree(left.parent, ignore_errors=True)  # by a process that was killed
        with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
            whole = Path(folder) / path.name
            MlflowClient(tracking_uri=sqlite_uri(whole)).search_experiments()
            whole.replace(path)
        lock.unlink(missing_ok=True)  # whoever waits for it finds the database


def ui_command(uri: str, root: Path) -> str:
    """What to type in the project to look at the runs; empty if a server already shows them."""
    if uri.startswith("http"):
        return ""
    database = database_of(uri)
    if database is not None and database.is_relative_to(root):
        uri = sqlite_uri(database.relative_to(root))
    return shlex.join(["mlflow", "ui", "--backend-store-uri", uri])


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys with short texts."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat.update(flatten(item, f"{name}."))
        else:
            flat[clean_name(name)] = str(item)[:MAX_PARAM_CHARACTERS]
    return flat


def clean_name(name: str) -> str:
    """A name that MLflow takes: letters, digits, ``_ - . / :`` and blanks."""
    return re.sub(r"/+", "/", re.sub(r"[^\w\-./: ]", "_", name)).strip("/")


def find_runs(client: MlflowClient, experiment_id: str, **tags: str) -> list[Run]:
    """Runs that carry all these tags, the newest first."""
    wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in sorted(tags.items()))
    return list(client.search_runs([experiment_id], wanted, max_results=1_000))


def log_new_params(client: MlflowClient, run: Run, params: Mapping[str, Any]) -> None:
    """Log the parameters that the run does not have yet: MLflow refuses a changed one."""
    from mlflow.entities import Param

    flat = flatten(params)
    new = [Param(name, text) for name, text in flat.items() if name not in run.data.params]
    for start in range(0, len(new), MAX_PARAMS_A_BATCH):
        client.log_batch(run.info.run_id, params=new[start : start + MAX_PARAMS_A_BATCH])


def log_changed_metrics(
    client: MlflowClient, run: Run, metrics: Mapping[str, float], step: int
) -> None:
    """Log the metrics whose value differs from the last one of the run."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    known = run.data.metrics
    named = {clean_name(name): float(value) for name, value in metrics.items()}
    new = [
        Metric(name, value, now_ms, step)
        for name, value in named.items()
        if known.get(name) != value
    ]
    if new:
        client.log_batch(run.info.run_id, metrics=new)


def log_points(
    client: MlflowClient, run: Run, points: Iterable[tuple[int, Mapping[str, float]]]
) -> None:
    """Log curves: (step, metrics after it)."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    metrics = [
        Metric(clean_name(name), value, now_ms, step)
        for step, values in points
        for name, value in values.items()
    ]
    log_in_batches(client, str(run.info.run_id), metrics)


def log_in_batches(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Log any number of metrics: MLflow takes so many at once."""
    for start in range(0, len(metrics), MAX_METRICS_A_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_A_BATCH])


def last_steps(client: MlflowClient, run: Run) -> dict[str, int]:
    """The last step that each metric of a run was logged at."""
    run_id = run.info.run_id
    return {
        name: max(entry.step for entry in client.get_metric_history(run_id, name))
        for name in run.data.metrics
    }


_warned = False


def warn_once(error: BaseException) -> None:
    """Say in one sentence, once a process, that tracking is off."""
    global _warned
    if not _warned:
        _warned = True
        reason = " ".join(str(error).split())[:500]
        logger.warning("The run goes on without MLflow tracking: %s", reason)
