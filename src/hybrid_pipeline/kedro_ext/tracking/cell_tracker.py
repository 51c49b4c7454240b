"""The tracker that a node finds: progress for the display, events for the study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_pipeline.kedro_ext.progress import CellName, ProgressFile
from hybrid_pipeline.kedro_ext.tracking.charts import VALIDATION_OF_TASK
from hybrid_pipeline.kedro_ext.tracking.spool import SpoolWriter

VALIDATION = "validation/score"


class CellTracker:
    """Reports one node: to its progress file always, to the study once ``begin`` was called.

    Args:
        cell: name, arm and seed, from the node's tags.
        study: tags that the cells of this study share, ``None`` without tracking.
        spool_dir: where events go.
        progress_dir: folder of the progress files, ``None`` for none.
        num_tasks: how many tasks the node trains, one after the other.
    """

    def __init__(
        self,
        cell: CellName,
        study: Mapping[str, str] | None = None,
        spool_dir: Path | None = None,
        progress_dir: Path | None = None,
        num_tasks: int = 1,
    ) -> None:
        self._cell = cell
        self._study = study
        self._spool_dir = spool_dir
        self._num_tasks = num_tasks
        self._num_finished = 0
        self._has_begun = False
        self._task = cell.task
        self._scores: dict[str, float] = {}
        self._spool: SpoolWriter | None = None
        self._file = ProgressFile(progress_dir, cell)
        self._file.update(now=True)

    def begin(self, *, key: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Open the cell's run, or the one that an interrupted run left; see ``Tracker``.

        A node that trains several tasks calls this once for each, with the tag ``task``; the run
        before ends.
        """
        self._end("FINISHED")
        self._num_finished += self._has_begun
        self._has_begun = True
        self._task = tags.get("task", self._cell.task)
        self._file.update(now=True, trained=True, note=self._task)
        if self._study is None or self._spool_dir is None:
            return
        self._spool = SpoolWriter(self._spool_dir, f"{self._cell.node}.{self._task}")
        cell = {"key": key, "arm": self._cell.arm, "seed": self._cell.seed, "task": self._task}
        self._spool.write("begin", **cell, params=params, tags=tags, study=self._study)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Report metrics; up to the last step of a reopened run they are there already."""
        if self._spool is not None:
            values = {name: float(value) for name, value in metrics.items()}
            if VALIDATION in values and self._task:  # charts group by arm: a curve for each task
                values[f"{VALIDATION_OF_TASK}/{self._task}"] = 100 * values[VALIDATION]
            self._spool.write("metrics", values=values, step=int(step))

    def reads(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what the node trains on, for the estimate of the time left."""
        self._file.update(now=True, shapes={task: dict(shape) for task, shape in shapes.items()})

    def progress(self, done: int, total: int, score: float | None = None, note: str = "") -> None:
        """Write how far the node is, over all its tasks; without a score, the last one stays.

        Before ``begin`` a finished unit (``done == total``) is a task whose result was found.
        """
        if score is not None and (self._task or self._num_tasks == 1):
            self._scores[self._task] = score
        self._file.update(
            done=min(self._num_finished, self._num_tasks - 1) * total + done,
            total=self._num_tasks * total,
            scores=self._scores,
            note=note or self._task,
        )
        if not self._has_begun and done == total:
            self._num_finished += 1

    def close(
        self,
        *,
        failed: bool = False,
        scores: Mapping[str, float] | None = None,
        message: str = "",
        not_needed: bool = False,
    ) -> None:
        """End the run.

        Args:
            failed: whether the node raised.
            scores: final accuracy by task; those on the way stay if there are none.
            message: for the display.
            not_needed: whether a budget or a look had ended the study before this cell.
        """
        if scores:  # a result that was found before ``begin`` was one of a task without a name
            self._scores.pop("", None)
        self._scores |= scores or {}
        state = "failed" if failed else "done"
        said = {"scores": self._scores, "message": message, "not_needed": not_needed}
        self._file.update(now=True, state=state, **said)
        self._end("FAILED" if failed else "FINISHED")

    def _end(self, status: str) -> None:
        if self._spool is not None:
            self._spool.write("end", status=status)
            self._spool.close()
            self._spool = None
