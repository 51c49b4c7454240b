"""Where a training run reports to: a protocol, so that the library knows no tracking server.

Whoever runs the training installs a tracker; the training loop asks for ``current_tracker()`` and
gets one that does nothing if none was installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tracker(Protocol):
    """Receives what a cell (arm x seed) reports while it runs."""

    def begin(self, *, key: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Open the run of this cell, or reopen it after an interruption.

        To be called only when the cell really trains: a cell whose result is found under its key
        must not report again.

        Args:
            key: the content key of the cell; equal keys are one run.
            params: nested parameters of the cell; flattened with dots.
            tags: what the run is found by besides its arm and seed, such as ``tower``.
        """
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Report metrics at an optimiser step. Names may hold ``/``: ``train/loss``."""
        ...

    def reads(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what the cell will train on, before it does: what it costs follows from that.

        Args:
            shapes: task to the fields of its ``InputShape``.
        """
        ...

    def progress(self, done: int, total: int, score: float | None = None, note: str = "") -> None:
        """Say how far the cell is, for the live display.

        Args:
            done: units of work finished, in any unit.
            total: units of work in all.
            score: accuracy so far, in [0, 1].
            note: one or two words, such as ``"cached"``.
        """
        ...


class NullTracker:
    """A tracker that ignores everything."""

    def begin(self, *, key: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Ignore the cell."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Ignore the metrics."""

    def reads(self, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Ignore the shapes."""

    def progress(self, done: int, total: int, score: float | None = None, note: str = "") -> None:
        """Ignore the progress."""


_NULL = NullTracker()
_current: ContextVar[Tracker] = ContextVar("hybrid_pipeline_tracker", default=_NULL)


def current_tracker() -> Tracker:
    """The tracker of this thread or task; a ``NullTracker`` where none is installed."""
    return _current.get()


def install_tracker(tracker: Tracker | None) -> None:
    """Install a tracker until the next call; ``None`` takes it away."""
    _current.set(tracker if tracker is not None else _NULL)
