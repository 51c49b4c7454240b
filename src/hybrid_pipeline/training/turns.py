"""Cells that share a process take turns: one computes at a time, for one update at a time.

Each cell has a thread of its own, with its own tracker, errors and CUDA stream. Only the thread
whose turn it is runs, so what a cell computes does not depend on who else is there. On a GPU a turn
lasts as long as it takes to queue an update: the updates of several cells run beside one another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Passes the turn from thread to thread in the order in which they asked for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: int | None = None

    @property
    def is_mine(self) -> bool:
        """Whether it is this thread's turn."""
        return self._holder == threading.get_ident()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and give it back at the end; a thread that has it keeps it."""
        if self.is_mine:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def pass_on(self) -> None:
        """Let the others who wait go first; nothing if there are none, or it is not this turn."""
        if self.is_mine and self._waiting:
            self._give_back()
            self._take()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give the turn back while this thread waits for something else, such as a device."""
        if not self.is_mine:
            yield
            return
        self._give_back()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        me = object()
        with self._changed:
            self._waiting.append(me)
            self._changed.wait_for(lambda: self._holder is None and self._waiting[0] is me)
            self._waiting.popleft()
            self._holder = threading.get_ident()

    def _give_back(self) -> None:
        with self._changed:
            self._holder = None
            self._changed.notify_all()


TURNS = Turns()
"""Of all cells of this process."""
