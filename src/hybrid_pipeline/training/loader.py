"""Batches of a task: images, frozen tokens and targets, addressed by rows and views."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_pipeline.features.extract import FeatureStore
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.rendering import to_float
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.tasks.table import TaskTable


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

    def batch(
        self,
        rows: NDArray[np.int64],
        views: NDArray[np.int64],
        *,
        with_clip: bool,
        device: torch.device | None = None,
    ) -> Batch:
        """Gather rows [B] in their views [B] (0 or 1)."""
        images = self.images.gather("views", rows)[np.arange(len(rows)), views]
        clip = None
        if with_clip and self.features is not None:
            clip = torch.from_numpy(self.tokens(rows, views)).to(device)
        return Batch(
            images=torch.from_numpy(to_float(images))[:, None].to(device),
            clip=clip,
            targets=torch.from_numpy(self.table.targets[rows]).to(device),
            scored=torch.from_numpy(self.table.scored[rows]).to(device),
        )

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


def training_batches(
    data: TaskData,
    *,
    first_step: int,
    num_steps: int,
    batch_size: int,
    seed: int,
    with_clip: bool,
    device: torch.device | None = None,
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch) from ``first_step`` on; the next batch is gathered in a thread."""
    train = data.table.rows("train")

    def load(step: int) -> Batch:
        rows = train[training_rows(step, batch_size, len(train), seed)]
        views = training_views(step, len(rows), seed)
        return data.batch(rows, views, with_clip=with_clip, device=device)

    with ThreadPoolExecutor(max_workers=1) as prefetch:
        pending = prefetch.submit(load, first_step) if first_step < num_steps else None
        for step in range(first_step, num_steps):
            batch = pending.result() if pending is not None else load(step)
            pending = prefetch.submit(load, step + 1) if step + 1 < num_steps else None
            yield step, batch
