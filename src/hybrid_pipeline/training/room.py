"""How many cells fit on a GPU at once, found by trying: one is let in at a time.

A cell is let in when the one before has trained its first update, which takes all the memory that
it will need, and as much is free as the largest has taken, and a margin. One that runs out of
memory all the same waits until another has ended, then goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

from hybrid_pipeline.training.precision import free_bytes
from hybrid_pipeline.training.turns import TURNS

MARGIN = 1.25
T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class Room:
    """The cells on one device.

    Args:
        free: how many bytes are free now.
    """

    def __init__(self, free: Callable[[], int]) -> None:
        self._free = free
        self._changed = threading.Condition()
        self._inside = 0
        self._left = 0
        self._largest = 0
        self._starting: int | None = None

    def run(self, compute: Callable[[], T]) -> T:
        """Compute when there is room; again, without a neighbour, if memory runs out beside it.

        Raises:
            torch.OutOfMemoryError: if it runs out for the only cell.
        """
        while True:
            self._enter()
            try:
                return compute()
            except torch.OutOfMemoryError as error:
                left = self._if_crowded()
                if left is None:
                    raise
                _LOG.warning("A cell waits until another ends, then goes on: %s", error)
            finally:
                self._leave()
            self._wait_until_one_left(left)

    def settled(self, num_bytes: int) -> None:
        """Say that the cell of this thread has taken its memory, and how much."""
        with self._changed:
            self._largest = max(self._largest, num_bytes)
            self._has_started()

    def _has_room(self) -> bool:
        if self._inside == 0:
            return True
        return self._starting is None and self._free() >= MARGIN * self._largest

    def _enter(self) -> None:
        with TURNS.left(), self._changed:
            self._changed.wait_for(self._has_room)
            self._inside += 1
            self._starting = threading.get_ident()

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._left += 1
            self._has_started()
            self._changed.notify_all()

    def _has_started(self) -> None:
        if self._starting == threading.get_ident():
            self._starting = None
            self._changed.notify_all()

    def _if_crowded(self) -> int | None:
        """How many had left before, if there are other cells; None if this is the only one."""
        with self._changed:
            return self._left if self._inside > 1 else None

    def _wait_until_one_left(self, left: int) -> None:
        with TURNS.left(), self._changed:  # this cell itself has left meanwhile
            self._changed.wait_for(lambda: self._left > left + 1 or self._inside == 0)


@cache
def room_on(device: torch.device) -> Room:
    """The room of all cells of this process on a CUDA device."""
    return Room(lambda: free_bytes(device))
