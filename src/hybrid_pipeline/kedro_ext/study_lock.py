"""One run at a time that makes data or trains, and nothing left of runs that were killed.

The small files that name data and cells are those of the last run (``task_data.json``, a cell's
record): a second run beside it, of this study or of another, would put its own in their place, and
the first would go on with them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from hybrid_pipeline.kedro_ext.progress import CELL_TAG
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState, current_state
from hybrid_pipeline.storage import FileLock, LockedError, sweep

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline

LOCK = Path("07_model_output/locks/run.lock")
DATA = "data."  # what the names of the tasks' datasets begin with


class LockHooks:
    """Holds the lock of the data folder while data are made and cells are trained; in the driver.

    The kernel frees it when the process dies, so that a killed run stops nobody.
    """

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Take the lock if the run makes data or cells; delete what killed runs left.

        Raises:
            LockedError: when another process does so in this data folder.
        """
        state = current_state()
        if state is None:
            return
        self._release()
        if _makes_data_or_cells(pipeline):
            self._lock = _take(state)
        sweep(state.data_dir, before_s=time.time())

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give the lock back."""
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give the lock back."""
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _makes_data_or_cells(pipeline: Pipeline) -> bool:
    return any(CELL_TAG in node.tags for node in pipeline.nodes) or any(
        name.startswith(DATA) for name in pipeline.all_outputs()
    )


def _take(state: ProjectState) -> FileLock:
    lock = FileLock(state.data_dir / LOCK)
    try:
        return lock.acquire(wait_s=0)
    except LockedError as error:
        raise LockedError(
            f"another run is at work in {state.data_dir} ({lock.holder()}): wait for its end and "
            "give the command again, which makes only what is missing; or set another data_root "
            "in conf/local/globals.yml."
        ) from error
