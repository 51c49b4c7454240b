"""Writing shards while the next ones are computed: one thread, in order, few waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from hybrid_pipeline.features.store import ArrayStore

MAX_WAITING = 2


class ShardWriter:
    """Writes the shards of one store, in the order in which they are given.

    At most ``MAX_WAITING`` shards wait in memory; giving one more waits for the oldest. The block
    ends when every shard given is on the disk, also when it ends by an exception.

    Args:
        store: where they go.
    """

    def __init__(self, store: ArrayStore) -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shard-writer")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._collect(0)

    def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Give a shard to the thread; the arrays must not be changed afterwards.

        Raises:
            Exception: that the writing of an earlier shard ended with.
        """
        self._collect(MAX_WAITING - 1)
        self._waiting.append(self._thread.submit(self.store.write_shard, shard, arrays))

    def _collect(self, leave: int) -> None:
        while len(self._waiting) > leave:
            self._waiting.popleft().result()
