"""Batches of a task: images, frozen tokens and targets, addressed by rows and views.

What is stored is read as it is stored, in a byte a value, and decoded on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_pipeline.features.extract import FeatureStore
from hybrid_pipeline.features.quantise import dequantise_tensor
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.rendering.levels import LEVEL_VALUES
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.capture import map_tensors

Channels = tuple[Tensor, Tensor]
"""Mean and std of each channel."""


@dataclass(frozen=True)
class Batch:
    """B examples on one device.

    Attributes:
        images: float32 [B, 1, H, W] in ink units.
        clip: float32 [B, T, C] frozen tokens, or None.
        targets: int64 [B, S].
        scored: bool [B, S].
    """

    images: Tensor
    clip: Tensor | None
    targets: Tensor
    scored: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    def split(self, size: int) -> Iterator[Batch]:
        """Micro-batches of at most ``size`` examples."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            clip = None if self.clip is None else self.clip[part]
            yield Batch(self.images[part], clip, self.targets[part], self.scored[part])


@dataclass(frozen=True)
class StoredBatch:
    """B examples as their stores hold them.

    Attributes:
        images: uint8 [B, H, W], one view of each.
        tokens: [B, T, C] in the store's dtype, not standardised; None without tokens.
        scales: float32 [B, T, 1] of int8 tokens; None for others.
        targets: int64 [B, S].
        scored: bool [B, S].
    """

    images: Tensor
    tokens: Tensor | None
    scales: Tensor | None
    targets: Tensor
    scored: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])


@dataclass(frozen=True)
class Choice:
    """Which B examples make a batch, and which view of each.

    Attributes:
        rows: int64 [B], of the table.
        views: int64 [B], 0 or 1.
    """

    rows: Tensor
    views: Tensor

    def __len__(self) -> int:
        return int(self.rows.shape[0])


class Decoder:
    """From stored batches to batches on one device, by the same operations as on the host.

    Args:
        features: of the task; None without tokens.
        device: of the batches.
    """

    def __init__(self, features: FeatureStore | None, device: torch.device | None = None) -> None:
        self.device = device
        self._ink = torch.from_numpy(LEVEL_VALUES).to(device)
        self._standardisation: Channels | None = None
        self._channels: Channels | None = None
        if features is not None:
            self._standardisation = features.standardisation.on(device)
            if features.is_quantised:
                self._channels = features.channels.on(device)

    @torch.no_grad()
    def __call__(self, stored: StoredBatch) -> Batch:
        """Ink units, standardised tokens; what lies elsewhere is brought to the device."""
        images, tokens, scales = (
            None if part is None else part.to(self.device)
            for part in (stored.images, stored.tokens, stored.scales)
        )
        return Batch(
            images=self._ink_of(cast("Tensor", images)),
            clip=None if tokens is None else self._standardised(tokens, scales),
            targets=stored.targets.to(self.device),
            scored=stored.scored.to(self.device),
        )

    def _ink_of(self, images: Tensor) -> Tensor:
        return self._ink.index_select(0, images.flatten().int()).view(images.shape).unsqueeze(1)

    def _standardised(self, tokens: Tensor, scales: Tensor | None) -> Tensor:
        """As ``FeatureStore.gather_view`` does it."""
        mean, std = cast("Channels", self._standardisation)
        if scales is not None:
            tokens = dequantise_tensor(tokens, scales, cast("Channels", self._channels))
        return (tokens.float() - mean).div_(std)


@dataclass(frozen=True)
class TaskData:
    """A task with its rendered views and, where a tower was used, its frozen tokens.

    Attributes:
        table: the examples.
        images: store with ``views``, uint8 [N, 2, H, W].
        features: store with ``tokens``, [N, 2, T, C]; None for studies without a tower.
    """

    table: TaskTable
    images: ArrayStore
    features: FeatureStore | None

    @property
    def shape(self) -> InputShape:
        """What the model has to know about the task."""
        tokens, width = (0, 0)
        if self.features is not None:
            tokens, width = self.features.shard("tokens", 0).shape[2:]
        return InputShape(
            image_size=self.images.shard("views", 0).shape[-1],
            num_slots=self.table.num_slots,
            num_classes=self.table.num_classes,
            slot_grid=self.table.grid_shape,
            clip_tokens=tokens,
            clip_width=width,
        )

    def stored(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], *, with_clip: bool
    ) -> StoredBatch:
        """Gather rows [B] in their views [B] (0 or 1), on the host."""
        pick = (np.arange(len(rows)), views)
        tokens, scales = None, None
        if with_clip and self.features is not None:
            found, found_scales = self.features.stored_view(rows, views)
            tokens = torch.from_numpy(found)
            scales = None if found_scales is None else torch.from_numpy(found_scales)
        return StoredBatch(
            images=torch.from_numpy(self.images.gather("views", rows)[pick]),
            tokens=tokens,
            scales=scales,
            targets=torch.from_numpy(self.table.targets[rows]),
            scored=torch.from_numpy(self.table.scored[rows]),
        )

    def batch(
        self,
        rows: NDArray[np.int64],
        views: NDArray[np.int64],
        *,
        with_clip: bool,
        device: torch.device | None = None,
    ) -> Batch:
        """Gather and decode rows [B] in their views [B] (0 or 1)."""
        decode = Decoder(self.features if with_clip else None, device)
        return decode(self.stored(rows, views, with_clip=with_clip))

    def tokens(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        """Frozen tokens float32 [B, T, C] of rows [B] in their views [B]."""
        if self.features is None:
            raise ValueError("this task has no frozen tokens: run feature_caching first")
        return self.features.gather_view(rows, views)


def training_rows(step: int, batch_size: int, num_train: int, seed: int) -> NDArray[np.int64]:
    """Rows of update ``step``: consecutive slices of one permutation an epoch.

    A pure function of its arguments, so every arm with this seed sees the same examples in the
    same order, and a resumed run goes on where it stopped.
    """
    size = min(batch_size, num_train)
    per_epoch = max(1, num_train // size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(epoch, num_train, seed)
    return order[position * size : (position + 1) * size]


def _epoch_order(epoch: int, num_train: int, seed: int) -> NDArray[np.int64]:
    return rng_for("data_order", seed, epoch).permutation(num_train).astype(np.int64)


def training_views(step: int, size: int, seed: int) -> NDArray[np.int64]:
    """Which of the two noisy views is the input, for each example of update ``step``."""
    return rng_for("view_choice", seed, step).integers(0, 2, size)


def training_choice(
    step: int, train: NDArray[np.int64], batch_size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the table and views of update ``step``; ``train`` are the rows that are trained."""
    rows = train[training_rows(step, batch_size, len(train), seed)]
    return rows, training_views(step, len(rows), seed)


def training_batches(
    data: TaskData,
    *,
    first_step: int,
    num_steps: int,
    batch_size: int,
    seed: int,
    with_clip: bool,
    pinned: bool = False,
) -> Iterator[tuple[int, StoredBatch]]:
    """Yield (step, batch) from ``first_step`` on; the next batch is gathered in a thread.

    ``pinned`` batches lie in page-locked memory, from where a GPU takes them without waiting.
    """
    train = data.table.rows("train")

    def load(step: int) -> StoredBatch:
        rows, views = training_choice(step, train, batch_size, seed)
        stored = data.stored(rows, views, with_clip=with_clip)
        return map_tensors(Tensor.pin_memory, stored) if pinned else stored

    with ThreadPoolExecutor(max_workers=1) as prefetch:
        pending = prefetch.submit(load, first_step) if first_step < num_steps else None
        for step in range(first_step, num_steps):
            batch = pending.result() if pending is not None else load(step)
            pending = prefetch.submit(load, step + 1) if step + 1 < num_steps else None
            yield step, batch
