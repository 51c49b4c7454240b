"""Frozen features of both views, computed once and kept under a content key.

Every batch has the same size, the last one of a shard padded, because a tower's output varies in
the last bits with the size of its batch. What is stored is raw; the per-channel mean and std of the
training rows lie in the manifest and are applied when rows are read.

Tokens stay on the tower's device until they have the form that is stored. A thread writes a shard
while the next is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hybrid_pipeline.config import ClipConfig
from hybrid_pipeline.features.quantise import (
    ChannelScale,
    Moments,
    dequantise,
    dequantise_tensor,
    quantise_tensor,
)
from hybrid_pipeline.features.shard_writer import ShardWriter
from hybrid_pipeline.features.store import ArrayStore, StoreError
from hybrid_pipeline.storage import code_fingerprint, content_key, library_versions

VIEWS, TOKENS, SCALES = "views", "tokens", "token_scales"
CODE = ("features/extract.py", "features/quantise.py", "features/tower.py")
CODE_OF_INPUT = ("features/preprocessing.py",)
LIBRARIES = ("torch", "open_clip_torch", "timm", "numpy", "pillow")


class ImageEncoder(Protocol):
    """What extraction needs of a tower."""

    @property
    def key(self) -> str:
        """Key of weights, model config, preprocessing and layer."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens an image."""
        ...

    @property
    def width(self) -> int:
        """Channels of a token."""
        ...

    @property
    def device(self) -> str:
        """Where it computes."""
        ...

    @property
    def precision(self) -> str:
        """In which precision it computes."""
        ...

    def encode_on_device(self, images: np.ndarray) -> Tensor:
        """Uint8 [B, H, W] to float32 [B, T, C]."""
        ...

    def check_precision(self, images: np.ndarray) -> None:
        """Raise if its precision spoils the features of a sample, uint8 [B, H, W]."""
        ...


class FeatureStore(ArrayStore):
    """Tokens of both views; reading ``tokens`` gives them standardised, whatever the storage."""

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows in any order; ``tokens`` as float32 [n, 2, T, C], standardised per channel."""
        found = super().gather(name, rows)
        if name != TOKENS:
            return found
        scales = super().gather(SCALES, rows) if self.is_quantised else None
        return self.standardisation.apply(self._raw(found, scales))

    def gather_view(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """One view a row.

        Args:
            rows: int64 [n].
            views: int64 [n], 0 or 1.

        Returns:
            float32 [n, T, C], standardised per channel.
        """
        return self.standardisation.apply(self._raw(*self.stored_view(rows, views)))

    def stored_view(
        self, rows: np.ndarray, views: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """One view a row as it is stored, [n, T, C], and the scales [n, T, 1] of int8 tokens."""
        pick = (np.arange(len(rows)), np.asarray(views, dtype=np.int64))
        found = super().gather(TOKENS, rows)[pick]
        return found, super().gather(SCALES, rows)[pick] if self.is_quantised else None

    def load(self, name: str) -> np.ndarray:
        """A whole array in memory; ``tokens`` as float16 [N, 2, T, C], standardised."""
        if name != TOKENS:
            return super().load(name)
        parts = [
            self.standardisation.apply(self.raw_shard(i)).astype(np.float16)
            for i in range(self.num_shards)
        ]
        return np.concatenate(parts)

    def raw_shard(self, shard: int) -> np.ndarray:
        """Tokens of a shard before standardisation, [rows, 2, T, C]."""
        scales = self.shard(SCALES, shard) if self.is_quantised else None
        return self._raw(self.shard(TOKENS, shard), scales)

    @property
    def is_quantised(self) -> bool:
        """Whether tokens are stored in int8."""
        return self.meta["storage"] == "int8"

    @property
    def standardisation(self) -> ChannelScale:
        """Per-channel mean and std of the training rows.

        Raises:
            StoreError: before the extraction has ended.
        """
        if "standardisation" not in self.meta:
            raise StoreError(f"{self.root} is not finished; run the feature extraction again")
        return ChannelScale.from_lists(self.meta["standardisation"])

    @property
    def channels(self) -> ChannelScale:
        """Per-channel mean and std that int8 tokens were stored by."""
        return ChannelScale.from_lists(self.meta["channels"])

    @property
    def is_complete(self) -> bool:
        """Whether every shard and the statistics are there."""
        return super().is_complete and "standardisation" in self.meta

    def _raw(self, found: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        if scales is None:
            return found
        return dequantise(found, scales, self.channels)


def features_key(
    images: ArrayStore, tower: ImageEncoder, config: ClipConfig, num_train: int
) -> str:
    """Key of a feature store: tower, images (tasks, renderer, noise), storage, code, libraries."""
    return content_key(
        {
            "tower": tower.key,
            "images": images.key,
            "num_train": num_train,
            "batch_size": config.batch_size,
            "storage": config.storage,
            "device": tower.device,
            "precision": tower.precision,
            "code": code_fingerprint(*CODE, *CODE_OF_INPUT),
            "libraries": library_versions(*LIBRARIES),
        }
    )


def extract_features(
    images: ArrayStore,
    tower: ImageEncoder,
    config: ClipConfig,
    root: Path,
    *,
    num_train: int | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Encode both views of every image, or do nothing when that has been done.

    Args:
        images: finished store with ``views`` uint8 [N, 2, H, W], training rows first.
        tower: frozen encoder.
        config: batch size and storage.
        root: the store lies in ``root/<key>/``.
        num_train: training rows; if left out, ``num_train`` of the images' ``meta``.
        on_shard: called with (encoded shards, all shards).

    Returns:
        The finished store.

    Raises:
        StoreError: when the images are not complete, or nothing says which rows train.
        DiskFullError: when the features do not fit on the disk.
        PrecisionError: when fp16 loses too much on the first batch.
        QuantisationError: when int8 loses too much.
    """
    if not images.is_complete:
        raise StoreError(f"{images.root} lacks shards {images.missing_shards()[:5]}; render first")
    num_train = _num_train(images, num_train)
    key = features_key(images, tower, config, num_train)
    store = FeatureStore.create(
        root / key,
        key,
        images.num_rows,
        images.rows_per_shard,
        {
            "storage": config.storage,
            "tower": tower.key,
            "images": images.key,
            "clip": config.model_dump(mode="json"),
        },
        row_bytes=_row_bytes(tower, config),
    )
    moments: dict[int, Moments] = {}
    for shard, stored in _encode_missing(store, images, tower, config):
        moments[shard] = _train_moments(store, shard, stored, num_train)
        if on_shard is not None:
            on_shard(shard + 1, store.num_shards)
    if "standardisation" not in store.meta:
        store.note(standardisation=_train_statistics(store, num_train, moments, tower).to_lists())
    return store


def _encode_missing(
    store: FeatureStore, images: ArrayStore, tower: ImageEncoder, config: ClipConfig
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Encode the missing shards and give them to the writer; yields each in its stored form."""
    missing = store.missing_shards()
    if missing:
        tower.check_precision(_flat(images.shard(VIEWS, 0))[: config.batch_size])
    with ShardWriter(store) as writer:
        for shard in missing:
            tokens = encode_on_device(tower, images.shard(VIEWS, shard), config.batch_size)
            stored = _stored(store, tokens)
            writer.write(shard, {name: array.cpu().numpy() for name, array in stored.items()})
            yield shard, stored


def encode_in_batches(tower: ImageEncoder, views: np.ndarray, batch_size: int) -> np.ndarray:
    """Tokens float32 [n, 2, T, C] of views uint8 [n, 2, H, W], in batches of one size."""
    return encode_on_device(tower, views, batch_size).cpu().numpy()


def encode_on_device(tower: ImageEncoder, views: np.ndarray, batch_size: int) -> Tensor:
    """The same as a tensor on the tower's device."""
    flat = _flat(views)
    tokens = torch.empty(len(flat), tower.num_tokens, tower.width, device=tower.device)
    for start in range(0, len(flat), batch_size):
        batch = flat[start : start + batch_size]
        padded = np.zeros((batch_size, *batch.shape[1:]), dtype=batch.dtype)
        padded[: len(batch)] = batch
        tokens[start : start + len(batch)] = tower.encode_on_device(padded)[: len(batch)]
    return tokens.view(*views.shape[:2], *tokens.shape[1:])


def _flat(views: np.ndarray) -> np.ndarray:
    return views.reshape(-1, *views.shape[2:])


def _num_train(images: ArrayStore, num_train: int | None) -> int:
    found = images.meta.get("num_train") if num_train is None else num_train
    if not isinstance(found, int) or not 1 <= found <= images.num_rows:
        raise StoreError(
            f"{images.root} must say how many of its {images.num_rows} rows train"
            f" (num_train), not {found!r}"
        )
    return found


def _row_bytes(tower: ImageEncoder, config: ClipConfig) -> int:
    per_token = tower.width + 4 if config.storage == "int8" else 2 * tower.width
    return 2 * tower.num_tokens * per_token


def _stored(store: FeatureStore, tokens: Tensor) -> dict[str, Tensor]:
    """Tokens [rows, 2, T, C] in the form that is stored, on their device."""
    if not store.is_quantised:
        return {TOKENS: _as_half(tokens)}
    if "channels" not in store.meta:  # of the first shard, which is written first
        store.note(channels=ChannelScale.of_parts([Moments.of(tokens)]).to_lists())
    channels = ChannelScale.from_lists(store.meta["channels"])
    rounded, scales = quantise_tensor(tokens, channels)
    return {TOKENS: rounded, SCALES: scales}


def _as_half(tokens: Tensor) -> Tensor:
    limit = torch.finfo(torch.float16).max
    largest = float(tokens.abs().amax())
    if not largest <= limit:
        raise StoreError(f"features reach {largest:g}, beyond float16's {limit:g}: not storable")
    return tokens.half()


def _train_moments(
    store: FeatureStore, shard: int, stored: Mapping[str, Tensor], num_train: int
) -> Moments:
    """Sums over the training rows of a shard, views and tokens, as stored."""
    tokens = stored[TOKENS]
    if store.is_quantised:
        channels = ChannelScale.from_lists(store.meta["channels"])
        tokens = dequantise_tensor(tokens, stored[SCALES], channels.on(tokens.device))
    return Moments.of(tokens[: max(0, num_train - store.shard_rows(shard).start)])


def _train_statistics(
    store: FeatureStore, num_train: int, moments: Mapping[int, Moments], tower: ImageEncoder
) -> ChannelScale:
    """Mean and std per channel over the training rows; shards of an earlier run are read."""
    parts = []
    for shard in range(-(-num_train // store.rows_per_shard)):
        found = moments.get(shard)
        if found is None:
            names = (TOKENS, SCALES) if store.is_quantised else (TOKENS,)
            stored = {n: torch.tensor(store.shard(n, shard), device=tower.device) for n in names}
            found = _train_moments(store, shard, stored, num_train)
        parts.append(found)
    return ChannelScale.of_parts(parts)
