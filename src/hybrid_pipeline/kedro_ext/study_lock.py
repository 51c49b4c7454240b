"""One run of a study at a time, and nothing left of runs that were killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from hybrid_pipeline.kedro_ext.progress import CELL_TAG
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState, current_state
from hybrid_pipeline.kedro_ext.tracking.study import study_key
from hybrid_pipeline.storage import FileLock, LockedError, sweep

LOCKS_FOLDER = Path("07_model_output/locks")


class LockHooks:
    """Holds the lock of the study while its cells are trained; in the driver.

    The kernel frees it when the process dies, so that a killed run stops nobody.
    """

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Take the lock where the run has cells; delete what killed runs left.

        Raises:
            LockedError: when another process trains the same study in this data folder.
        """
        state = current_state()
        if state is None:
            return
        self._release()
        if any(CELL_TAG in node.tags for node in pipeline.nodes):
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


def _take(state: ProjectState) -> FileLock:
    lock = FileLock(state.data_dir / LOCKS_FOLDER / f"{study_key(state.parameters)}.lock")
    try:
        return lock.acquire(wait_s=0)
    except LockedError as error:
        raise LockedError(
            f"this study is already at work in {state.data_dir} ({lock.holder()}): wait for its "
            "end and give the command again, which trains only what is missing; or set another "
            "data_root in conf/local/globals.yml."
        ) from error
