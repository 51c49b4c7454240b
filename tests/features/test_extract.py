"""Extraction: fixed batches, statistics of the training rows, nothing computed twice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from hybrid_pipeline.config import ClipConfig
from hybrid_pipeline.features import quantise as quantise_module
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.extract import FeatureStore, encode_in_batches, extract_features
from hybrid_pipeline.features.preprocessing import Preprocessing
from hybrid_pipeline.features.quantise import (
    ChannelScale,
    QuantisationError,
    dequantise,
    quantise,
    sums_on_device,
)
from hybrid_pipeline.features.shard_writer import MAX_WAITING, ShardWriter
from hybrid_pipeline.features.store import ArrayStore, DiskFullError, StoreError
from hybrid_pipeline.features.tower import PrecisionError, precision_on

ROWS, TRAIN, TOKENS, WIDTH = 23, 13, 4, 6


class FakeTower:
    """Counts its batches; a token is a fixed linear map of a quarter of the image."""

    key = "tower"
    num_tokens = TOKENS
    width = WIDTH
    device = "cpu"
    precision = "fp32"

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.sizes: list[int] = []
        self.fail_after = fail_after
        self.map = np.random.default_rng(0).normal(size=(16, WIDTH)) * np.geomspace(1, 50, WIDTH)

    def encode(self, images: np.ndarray) -> np.ndarray:
        if self.fail_after is not None and len(self.sizes) >= self.fail_after:
            raise KeyboardInterrupt
        self.sizes.append(len(images))
        quarters = images.reshape(len(images), TOKENS, 16).astype(np.float64) / 255.0
        return (quarters @ self.map + 3.0).astype(np.float32)

    def encode_on_device(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.encode(images))

    def check_precision(self, images: np.ndarray) -> None:
        pass


@pytest.fixture
def images(tmp_path: Path) -> ArrayStore:
    views = np.random.default_rng(1).integers(0, 256, (ROWS, 2, 8, 8), dtype=np.uint8)
    store = ArrayStore.create(tmp_path / "images", "images", ROWS, 5, {"num_train": TRAIN})
    for shard in range(store.num_shards):
        rows = store.shard_rows(shard)
        store.write_shard(shard, {"views": views[rows.start : rows.stop]})
    return store


def exact(images: ArrayStore) -> np.ndarray:
    """Standardised tokens, computed in one go."""
    views = images.load("views")
    raw = FakeTower().encode(views.reshape(-1, 8, 8)).reshape(ROWS, 2, TOKENS, WIDTH)
    train = raw[:TRAIN].reshape(-1, WIDTH).astype(np.float64)
    return (raw - train.mean(axis=0)) / train.std(axis=0)


@pytest.mark.parametrize(("storage", "tolerance"), [("float16", 0.01), ("int8", 0.03)])
def test_tokens_are_standardised_by_the_training_rows(
    tmp_path: Path, images: ArrayStore, storage: Literal["float16", "int8"], tolerance: float
) -> None:
    config = ClipConfig(batch_size=4, storage=storage)
    store = extract_features(images, FakeTower(), config, tmp_path / "features")
    expected = exact(images)
    rows = np.array([22, 0, 9, 9])
    found = store.gather("tokens", rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[rows], atol=tolerance)
    np.testing.assert_allclose(store.load("tokens"), expected, atol=tolerance)
    views = np.array([1, 0, 0, 1])
    np.testing.assert_array_equal(store.gather_view(rows, views), found[np.arange(4), views])
    train = store.gather("tokens", np.arange(TRAIN)).reshape(-1, WIDTH)
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(train.std(axis=0), 1.0, atol=1e-3)
    one_byte = store.shard("tokens", 0).dtype == np.int8
    assert one_byte == (storage == "int8")


def test_every_batch_has_the_same_size(tmp_path: Path, images: ArrayStore) -> None:
    tower = FakeTower()
    extract_features(images, tower, ClipConfig(batch_size=4), tmp_path / "features")
    assert set(tower.sizes) == {4}
    assert len(tower.sizes) == 4 * 3 + 2  # four shards of 10 views, one of 6


def test_a_second_run_computes_nothing(tmp_path: Path, images: ArrayStore) -> None:
    config = ClipConfig(batch_size=4)
    first = extract_features(images, FakeTower(), config, tmp_path / "features")
    tower = FakeTower()
    second = extract_features(images, tower, config, tmp_path / "features")
    assert tower.sizes == []
    assert second.root == first.root


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, images: ArrayStore, storage: Literal["float16", "int8"]
) -> None:
    config = ClipConfig(batch_size=4, storage=storage)
    whole = extract_features(images, FakeTower(), config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, FakeTower(fail_after=7), config, tmp_path / "parts")
    store = FeatureStore.open(next((tmp_path / "parts").iterdir()))
    assert store.missing_shards() == [2, 3, 4]
    assert not store.is_complete
    tower = FakeTower()
    resumed = extract_features(images, tower, config, tmp_path / "parts")
    assert len(tower.sizes) == 2 * 3 + 2
    for path in sorted(whole.root.glob("*[yn]")):
        assert path.read_bytes() == (resumed.root / path.name).read_bytes()


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_the_bytes_are_those_of_numpy_written_one_by_one(
    tmp_path: Path, images: ArrayStore, storage: Literal["float16", "int8"]
) -> None:
    """On a CPU neither the device's arithmetic nor the writing thread changes a bit."""
    config = ClipConfig(batch_size=4, storage=storage)
    store = extract_features(images, FakeTower(), config, tmp_path)
    plain = [encode_in_batches(FakeTower(), images.shard("views", i), 4) for i in range(5)]
    raw = [part.astype(np.float16) for part in plain]
    if storage == "int8":
        channels = channel_scale(plain[0])
        raw = []
        for i, part in enumerate(plain):
            standardised = (part - channels.mean) / channels.std
            scales = np.abs(standardised).max(axis=-1, keepdims=True) / np.float32(127)
            rounded = np.rint(standardised / scales).astype(np.int8)
            np.testing.assert_array_equal(store.shard("token_scales", i), scales)
            np.testing.assert_array_equal(store.shard("tokens", i), rounded)
            raw.append(dequantise(rounded, scales, channels))
    else:
        for i, part in enumerate(raw):
            np.testing.assert_array_equal(store.shard("tokens", i), part)
    train = [raw[0], raw[1], raw[2][: TRAIN - 10]]
    sums = [channel_sums(part) for part in train]
    count, total, squares = (sum(column) for column in zip(*sums, strict=True))
    expected = ChannelScale.from_moments(count, total, squares)
    np.testing.assert_array_equal(store.standardisation.mean, expected.mean)
    np.testing.assert_array_equal(store.standardisation.std, expected.std)


def channel_sums(tokens: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    flat = tokens.reshape(-1, WIDTH).astype(np.float64)
    return len(flat), flat.sum(axis=0), np.square(flat).sum(axis=0)


def channel_scale(tokens: np.ndarray) -> ChannelScale:
    return ChannelScale.from_moments(*channel_sums(tokens))


def test_sums_on_a_device_are_the_same_up_to_rounding() -> None:
    tokens = np.random.default_rng(6).normal(3.0, 2.0, size=(50, TOKENS, WIDTH))
    _, *expected = channel_sums(tokens)
    found = sums_on_device(torch.from_numpy(tokens).reshape(-1, WIDTH))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_next_shard_is_encoded_while_one_is_written(
    tmp_path: Path, images: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing waits until the third shard is being encoded: one after the other would hang."""
    third, write = threading.Event(), FeatureStore.write_shard

    class Tower(FakeTower):
        def encode(self, images: np.ndarray) -> np.ndarray:
            if len(self.sizes) >= 2 * 3:
                third.set()
            return super().encode(images)

    def slow(store: FeatureStore, shard: int, arrays: dict[str, np.ndarray]) -> None:
        assert third.wait(timeout=60)
        write(store, shard, arrays)

    monkeypatch.setattr(FeatureStore, "write_shard", slow)
    store = extract_features(images, Tower(), ClipConfig(batch_size=4), tmp_path / "features")
    assert store.is_complete


def test_few_shards_wait_for_a_slow_disk(tmp_path: Path) -> None:
    store = ArrayStore.create(tmp_path / "s", "k", 5, 1, {})
    may_write, waiting = threading.Event(), []

    class Slow:
        def write_shard(self, shard: int, arrays: dict[str, np.ndarray]) -> None:
            assert may_write.wait(timeout=60)
            store.write_shard(shard, arrays)

    def give() -> None:
        with ShardWriter(Slow()) as writer:
            for shard in range(5):
                writer.write(shard, {"a": np.full((1, 2), shard)})
                waiting.append(shard)

    thread = threading.Thread(target=give)
    thread.start()
    thread.join(timeout=0.3)
    assert waiting == list(range(MAX_WAITING))
    may_write.set()
    thread.join(timeout=60)
    np.testing.assert_array_equal(store.load("a")[:, 0], np.arange(5))


def test_an_error_of_the_disk_ends_the_extraction(
    tmp_path: Path, images: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        extract_features(images, FakeTower(), ClipConfig(batch_size=4), tmp_path / "features")


def test_a_tower_whose_precision_spoils_a_sample_encodes_nothing(
    tmp_path: Path, images: ArrayStore
) -> None:
    class Spoiled(FakeTower):
        precision = "fp16"

        def check_precision(self, images: np.ndarray) -> None:
            assert images.shape == (4, 8, 8)
            raise PrecisionError

    tower = Spoiled()
    with pytest.raises(PrecisionError):
        extract_features(images, tower, ClipConfig(batch_size=4), tmp_path / "features")
    assert tower.sizes == []
    kept = extract_features(images, FakeTower(), ClipConfig(batch_size=4), tmp_path / "features")
    assert len(list((tmp_path / "features").iterdir())) == 2  # the precision is in the key
    assert kept.is_complete


def test_half_precision_in_the_bundled_tower_is_close_and_gated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(7).integers(0, 256, (4, 64, 64), dtype=np.uint8)
    exact = load_tower(ClipConfig())
    half = load_tower(ClipConfig(precision="fp16"))
    assert (exact.precision, half.precision) == ("fp32", "fp16")
    assert exact.key == half.key
    half.check_precision(images)
    found, expected = half.encode(images), exact.encode(images)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    monkeypatch.setattr("hybrid_pipeline.features.tower.MIN_COSINE", 1.1)
    exact.check_precision(images)  # nothing to compare
    with pytest.raises(
        PrecisionError, match=r"cosine of [01]\.\d{4} .*set clip.precision to 'fp32'"
    ):
        half.check_precision(images)


def test_auto_is_half_precision_on_a_gpu_only() -> None:
    assert precision_on("cuda", "auto") == precision_on("cuda:1", "auto") == "fp16"
    assert precision_on("cpu", "auto") == precision_on("cuda", "fp32") == "fp32"


def test_images_of_the_towers_size_are_prepared_on_its_device() -> None:
    pixels = Preprocessing(8)(np.zeros((3, 8, 8), np.uint8), "meta")
    assert (pixels.device.type, pixels.shape) == ("meta", (3, 3, 8, 8))


def test_the_key_follows_what_the_features_depend_on(tmp_path: Path, images: ArrayStore) -> None:
    tower, roots = FakeTower(), set()
    for config in (ClipConfig(batch_size=4), ClipConfig(batch_size=8)):
        roots.add(extract_features(images, tower, config, tmp_path).root)
    other = FakeTower()
    other.key = "another tower"
    roots.add(extract_features(images, other, ClipConfig(batch_size=4), tmp_path).root)
    roots.add(extract_features(images, tower, ClipConfig(batch_size=4), tmp_path, num_train=5).root)
    assert len(roots) == 4


def test_statistics_do_not_look_at_test_rows(tmp_path: Path, images: ArrayStore) -> None:
    store = extract_features(images, FakeTower(), ClipConfig(batch_size=4), tmp_path, num_train=7)
    raw = np.concatenate([store.raw_shard(i) for i in range(store.num_shards)])
    train = raw[:7].reshape(-1, WIDTH).astype(np.float64)
    np.testing.assert_allclose(store.standardisation.mean, train.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(store.standardisation.std, train.std(axis=0), rtol=1e-5)


def test_padding_does_not_reach_the_features() -> None:
    views = np.random.default_rng(2).integers(0, 256, (3, 2, 8, 8), dtype=np.uint8)
    found = encode_in_batches(FakeTower(), views, 4)
    expected = FakeTower().encode(views.reshape(6, 8, 8)).reshape(3, 2, TOKENS, WIDTH)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_unfinished_images_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    images = ArrayStore.create(tmp_path / "images", "k", 4, 2, {})
    with pytest.raises(StoreError, match="render first"):
        extract_features(images, FakeTower(), ClipConfig(), tmp_path / "f")
    for shard in range(2):
        images.write_shard(shard, {"views": np.zeros((2, 2, 8, 8), np.uint8)})
    with pytest.raises(StoreError, match="num_train"):
        extract_features(images, FakeTower(), ClipConfig(), tmp_path / "f")


def test_a_short_disk_is_refused_before_anything_is_encoded(
    tmp_path: Path, images: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("hybrid_pipeline.features.store.shutil.disk_usage", lambda _: usage)
    tower = FakeTower()
    with pytest.raises(DiskFullError, match="only 10 bytes"):
        extract_features(images, tower, ClipConfig(), tmp_path / "features")
    assert tower.sizes == []


def test_values_beyond_half_precision_are_refused(tmp_path: Path, images: ArrayStore) -> None:
    tower = FakeTower()
    tower.map = tower.map * 1e6
    with pytest.raises(StoreError, match="beyond float16"):
        extract_features(images, tower, ClipConfig(), tmp_path / "features")


def test_channel_std_is_what_saves_int8_from_outlier_channels() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.normal(size=(200, 64)).astype(np.float32)
    tokens[:, 5] = tokens[:, 5] * 400 + 2000
    channels = ChannelScale.of(tokens)
    back = dequantise(*quantise(tokens, channels), channels)
    exact_tokens, found = channels.apply(tokens), channels.apply(back)
    cosine = (exact_tokens * found).sum(1) / np.linalg.norm(exact_tokens, axis=1)
    cosine /= np.linalg.norm(found, axis=1)
    assert cosine.min() >= 0.9999
    plain = ChannelScale(np.zeros(64, np.float32), np.ones(64, np.float32))
    lost = channels.apply(dequantise(*quantise(tokens, plain), plain))
    assert np.abs(lost - exact_tokens).mean() > 20 * np.abs(found - exact_tokens).mean()


def test_the_gate_refuses_features_that_int8_spoils(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(4).normal(size=(20, 2048)).astype(np.float32)
    tokens[:, 0] = 127.0  # a step of one: the others are rounded to whole numbers
    flat = ChannelScale(np.zeros(2048, np.float32), np.ones(2048, np.float32))
    with pytest.raises(QuantisationError, match=r"cosine of 0\.99.*set clip.storage to 'float16'"):
        quantise(tokens, flat)
    monkeypatch.setattr(quantise_module, "MIN_COSINE", 0.0)
    quantise(tokens, flat)


def test_channels_that_never_vary_stay_finite() -> None:
    tokens = np.ones((10, 3), np.float32) * np.array([0.0, 7.0, -1e4], np.float32)
    channels = ChannelScale.of(tokens)
    np.testing.assert_array_equal(channels.std, 1.0)
    back = dequantise(*quantise(tokens, channels), channels)
    np.testing.assert_allclose(back, tokens)
