"""A task's images, tokens and targets on a GPU, once for all cells that train on it there.

They lie there as they are stored: bytes, and a scale per token. So a batch is gathered where it is
needed, and nothing is read from disk or sent while an arm trains.
"""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from hybrid_pipeline.features.extract import SCALES, TOKENS, VIEWS
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.training.loader import Choice, StoredBatch, TaskData
from hybrid_pipeline.training.precision import free_bytes, wait_for

MAX_SHARE = 0.5
"""Of the free memory that data may take; the rest is for training."""


class ResidentData:
    """A whole task on a device.

    Args:
        data: the task.
        with_clip: whether its tokens are wanted.
        device: where.
    """

    def __init__(self, data: TaskData, device: torch.device, *, with_clip: bool) -> None:
        arrays = {
            name: _load(store, name, device).flatten(0, 1)
            for name, store in _stores(data, with_clip=with_clip).items()
        }
        self.images, self.tokens, self.scales = (
            arrays[VIEWS],
            arrays.get(TOKENS),
            arrays.get(SCALES),
        )
        self.targets = torch.from_numpy(data.table.targets).to(device)
        self.scored = torch.from_numpy(data.table.scored).to(device)

    def gather(self, choice: Choice) -> StoredBatch:
        """The chosen views, gathered on the device; equal to ``TaskData.stored``."""
        at = choice.rows * 2 + choice.views
        return StoredBatch(
            images=self.images.index_select(0, at),
            tokens=None if self.tokens is None else self.tokens.index_select(0, at),
            scales=None if self.scales is None else self.scales.index_select(0, at),
            targets=self.targets.index_select(0, choice.rows),
            scored=self.scored.index_select(0, choice.rows),
        )


def num_bytes(data: TaskData, *, with_clip: bool) -> int:
    """Bytes of a whole task on a device, without its targets."""
    firsts = ((s, s.shard(name, 0)) for name, s in _stores(data, with_clip=with_clip).items())
    return sum(store.num_rows * first.nbytes // len(first) for store, first in firsts)


def _stores(data: TaskData, *, with_clip: bool) -> dict[str, ArrayStore]:
    """The arrays that are wanted, each with its store."""
    stores: dict[str, ArrayStore] = {VIEWS: data.images}
    if with_clip and data.features is not None:
        names = (TOKENS, SCALES) if data.features.is_quantised else (TOKENS,)
        stores |= dict.fromkeys(names, data.features)
    return stores


_held: WeakValueDictionary[tuple[str, ...], ResidentData] = WeakValueDictionary()
_lock = threading.Lock()


def resident_data(data: TaskData, device: torch.device, *, with_clip: bool) -> ResidentData | None:
    """The task on a GPU, shared by all who ask for it; None on a CPU, or if it does not fit."""
    if device.type != "cuda":
        return None
    return shared(data, device, with_clip=with_clip, free=free_bytes(device))


def shared(
    data: TaskData, device: torch.device, *, with_clip: bool, free: int
) -> ResidentData | None:
    """The task on a device, if it lies there or fits into half of ``free`` bytes."""
    features = data.features if with_clip else None
    key = (str(device), data.table.key, data.images.key, "" if features is None else features.key)
    with _lock:
        held = _held.get(key)
        if held is None and num_bytes(data, with_clip=with_clip) <= MAX_SHARE * free:
            held = _held[key] = ResidentData(data, device, with_clip=with_clip)
            wait_for(device)  # others read it on their own streams
    return held


def _load(store: ArrayStore, name: str, device: torch.device) -> Tensor:
    """A whole array as it is stored, brought to the device shard by shard."""
    first = store.shard(name, 0)
    whole = torch.empty(
        (store.num_rows, *first.shape[1:]), dtype=torch.from_numpy(first[:0].copy()).dtype,
        device=device,
    )  # fmt: skip
    for shard in range(store.num_shards):
        rows = store.shard_rows(shard)
        whole[rows.start : rows.stop] = torch.from_numpy(store.shard(name, shard).copy())
    return whole
