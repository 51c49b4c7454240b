"""The tracker that a node finds: progress for the display, events for the study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_pipeline.kedro_ext.progress import CellName, ProgressFile
from hybrid_pipeline.kedro_ext.tracking.charts import charted
from hybrid_pipeline.kedro_ext.tracking.spool import SpoolWriter

FOUND = "cached"  # the note of ``training.cell`` on a result that was found


class CellTracker:
    """Reports one node: to its progress file always, to the study once ``begin`` was called.

    Args:
        cell: name, arm and seed, from the node's tags.
        study: tags that the cells of this study share, ``None`` without tracking.
        spool_dir: where events go.
        progress_dir: folder of the progress files, ``None`` for none.
        cells_dir: folder of all trained cells, ``None`` if none can go on from a checkpoint.
    """

    def __init__(
        self,
        cell: CellName,
        study: Mapping[str, str] | None = None,
        spool_dir: Path | None = None,
        progress_dir: Path | None = None,
        cells_dir: Path | None = None,
    ) -> None:
        self._cell = cell
        self._study = study
        self._spool_dir = spool_dir
        self._cells_dir = cells_dir
        self._num_tasks = 1  # that the node trains, one after the other
        self._num_begun = 0
        self._num_found = 0
        self._goes_on = False
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
        self._num_begun += 1
        self._goes_on = self._num_begun == 1 and self._has_checkpoint(key)
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
            self._spool.write("metrics", values=charted(values, self._task), step=int(step))

    def reads(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what the node trains on, for the estimate of the time left."""
        self._num_tasks = max(1, len(shapes))
        self._file.update(now=True, shapes={task: dict(shape) for task, shape in shapes.items()})

    def progress(self, done: int, total: int, score: float | None = None, note: str = "") -> None:
        """Write how far the node is, over all its tasks; without a score, the last one stays."""
        if score is not None and (self._task or self._num_tasks == 1):
            self._scores[self._task] = score
        self._file.update(
            done=self._num_ended(note) * total + done,
            total=self._num_tasks * total,
            scores=self._scores,
            note=note or self._task,
            found=self._num_found / self._num_tasks,
            **self._where_it_went_on(done / total),
        )

    def _num_ended(self, note: str) -> int:
        """Tasks before the one that reports."""
        if note == FOUND:
            self._num_found += 1
            return self._num_begun + self._num_found - 1
        return min(max(0, self._num_begun - 1) + self._num_found, self._num_tasks - 1)

    def _has_checkpoint(self, key: str) -> bool:
        if self._cells_dir is None:
            return False
        from hybrid_pipeline.training.checkpoint import CHECKPOINT

        return (self._cells_dir / key / CHECKPOINT).exists()

    def _where_it_went_on(self, share: float) -> dict[str, Any]:
        """At the first report of a cell that went on: what was there, and that time runs now."""
        if not self._goes_on:
            return {}
        self._goes_on = False
        return {"resumed": share / self._num_tasks, "started_s": time.time()}

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
