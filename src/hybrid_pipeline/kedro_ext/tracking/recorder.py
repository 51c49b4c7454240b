"""The thread of the driver that sends what cells report to MLflow while they train."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.kedro_ext.tracking.arm_model import FinishedArm, log_arm
from hybrid_pipeline.kedro_ext.tracking.comparison import publish
from hybrid_pipeline.kedro_ext.tracking.spool import SpoolReader
from hybrid_pipeline.kedro_ext.tracking.store import (
    MAX_METRICS_A_BATCH,
    clean_name,
    last_steps,
    log_in_batches,
    log_new_params,
    warn_once,
)
from hybrid_pipeline.kedro_ext.tracking.study import (
    TrackedCell,
    TrackedStudy,
    close_study,
    find_child,
    log_study,
    open_cell,
    open_study,
)
from hybrid_pipeline.kedro_ext.tracking.summary import StudySummary

if TYPE_CHECKING:
    from mlflow.entities import Metric

T = TypeVar("T")
POLL_S = 5.0
FINISH_TIMEOUT_S = 120.0


@dataclass
class _OpenRun:
    """A run that is written to, what it had before, and what waits to be sent."""

    run_id: str
    logged: dict[str, int]
    waiting: list[Metric]


class StudyRecorder:
    """Opens the study, follows the spool, and completes the study at the end.

    MLflow is imported, and asked, in a thread: nothing waits for it until the end of the run. Any
    error ends the recording with one warning; what was not sent stays in the spool for the next
    run.

    Args:
        state: the project.
        tags: what all runs of the study share (``study_tags``).
        spool_dir: where the cells write.
    """

    def __init__(self, state: ProjectState, tags: Mapping[str, str], spool_dir: Path) -> None:
        self._state = state
        self._tags = dict(tags)
        self._reader = SpoolReader(spool_dir)
        self._study: TrackedStudy | None = None
        self._runs: dict[str, _OpenRun] = {}
        self._is_dead = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def finish(
        self,
        records: Sequence[TrackedCell] = (),
        report_paths: Sequence[Path] = (),
        means: Mapping[str, float] | None = None,
        summary: StudySummary | None = None,
        arms: Iterable[FinishedArm] = (),
        *,
        failed: bool = False,
    ) -> str:
        """Send the rest and close the study.

        Args:
            records: the finished cells.
            report_paths: files and folders that become artifacts.
            means: metrics of the study's own run.
            summary: what the study found; without one there is nothing to compare.
            arms: that are logged as models; opened one by one.
            failed: whether the run failed.

        Returns:
            The link that compares the arms; empty without a summary or when MLflow did not answer.
        """
        self._ended.set()
        self._thread.join(FINISH_TIMEOUT_S)
        study = self._study
        if study is None or self._is_dead or self._thread.is_alive():
            return ""
        link = self._guarded(lambda: _complete(study, records, report_paths, means, summary))
        self._guarded(lambda: _log_models(study, arms))
        self._guarded(lambda: close_study(study, failed=failed))
        self._reader.delete_read()
        return link or ""

    def _record(self) -> None:
        self._study = self._guarded(lambda: open_study(self._state, self._tags))
        is_last = False
        while self._study is not None and not self._is_dead and not is_last:
            is_last = self._ended.wait(POLL_S)
            self._guarded(self._send_new)

    def _guarded(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:  # noqa: BLE001  (tracking never ends a run)
            self._is_dead = True
            warn_once(error)
            return None

    def _send_new(self) -> None:
        for source, event in self._reader.new_events():
            self._take(source, event)
        for run in self._runs.values():
            self._flush(run)

    def _take(self, source: str, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "begin":
            self._begin(source, event)
        run = self._runs.get(source)
        if run is None or self._study is None:
            return
        if kind == "metrics":
            self._queue(run, event)
        elif kind == "end":
            self._flush(run)
            self._study.client.set_terminated(run.run_id, event["status"])
            del self._runs[source]

    def _begin(self, source: str, event: Mapping[str, Any]) -> None:
        if self._study is None:
            return
        for waiting in self._runs.values():  # an earlier attempt of this cell may be among them
            self._flush(waiting)
        record = TrackedCell(
            key=event["key"],
            arm=event["arm"],
            seed=int(event["seed"] or 0),
            task=event["task"],
            tags=event["tags"],
        )
        run = open_cell(self._study, record, event["study"])
        log_new_params(self._study.client, run, event["params"])
        logged = last_steps(self._study.client, run)
        self._runs[source] = _OpenRun(str(run.info.run_id), logged, [])

    def _queue(self, run: _OpenRun, event: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        for name, value in event["values"].items():
            cleaned = clean_name(name)
            if event["step"] > run.logged.get(cleaned, -1):
                run.waiting.append(Metric(cleaned, value, event["time_ms"], event["step"]))
                run.logged[cleaned] = event["step"]
        if len(run.waiting) >= MAX_METRICS_A_BATCH:
            self._flush(run)

    def _flush(self, run: _OpenRun) -> None:
        if self._study is None:
            return
        waiting, run.waiting = run.waiting, []
        log_in_batches(self._study.client, run.run_id, waiting)


def _complete(
    study: TrackedStudy,
    records: Sequence[TrackedCell],
    report_paths: Sequence[Path],
    means: Mapping[str, float] | None,
    summary: StudySummary | None,
) -> str:
    run_ids = log_study(study, records, report_paths, means)
    return "" if summary is None else publish(study, records, run_ids, summary)


def _log_models(study: TrackedStudy, arms: Iterable[FinishedArm]) -> None:
    for finished in arms:
        record = TrackedCell(finished.key, finished.arm, finished.seed, finished.task)
        run = find_child(study, record, study.tags["study_key"])
        if run is not None:
            log_arm(study.client, study.experiment_id, str(run.info.run_id), finished)
