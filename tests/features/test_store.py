"""The array store: whole or not there, resumable, refused when the disk is short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_pipeline.features import store as store_module
from hybrid_pipeline.features.store import ArrayStore, DiskFullError, StoreError
from hybrid_pipeline.storage import read_json


def make(root: Path, data: np.ndarray, rows_per_shard: int = 4) -> ArrayStore:
    store = ArrayStore.create(root, "k", len(data), rows_per_shard, {"num_train": 5})
    for shard in store.missing_shards():
        rows = store.shard_rows(shard)
        store.write_shard(shard, {"x": data[rows.start : rows.stop]})
    return store


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (11, 2, 3), dtype=np.uint8)


def test_gather_and_load_give_back_what_was_written(tmp_path: Path, data: np.ndarray) -> None:
    make(tmp_path / "s", data)
    store = ArrayStore.open(tmp_path / "s")
    rows = np.array([10, 0, 7, 7, 3, 4])
    np.testing.assert_array_equal(store.gather("x", rows), data[rows])
    np.testing.assert_array_equal(store.load("x"), data)
    assert store.gather("x", rows).dtype == np.uint8
    assert store.gather("x", np.array([], dtype=np.int64)).shape == (0, 2, 3)
    assert store.meta == {"num_train": 5}
    assert store.names == ("x",)
    store.verify()


def test_rows_outside_are_refused(tmp_path: Path, data: np.ndarray) -> None:
    store = make(tmp_path / "s", data)
    for row in (-1, 11):
        with pytest.raises(IndexError, match="between 0 and 10"):
            store.gather("x", np.array([row]))


def test_a_store_goes_on_with_its_missing_shards(tmp_path: Path, data: np.ndarray) -> None:
    first = ArrayStore.create(tmp_path / "s", "k", 11, 4, {})
    first.write_shard(1, {"x": data[4:8]})
    assert not first.is_complete
    again = ArrayStore.create(tmp_path / "s", "k", 11, 4, {})
    assert again.missing_shards() == [0, 2]
    with pytest.raises(StoreError, match="no shard 0"):
        again.load("x")
    again.write_shard(0, {"x": data[:4]})
    again.write_shard(2, {"x": data[8:]})
    assert again.is_complete
    np.testing.assert_array_equal(ArrayStore.open(tmp_path / "s").load("x"), data)


def test_two_writers_do_not_lose_each_others_shards(tmp_path: Path, data: np.ndarray) -> None:
    one = ArrayStore.create(tmp_path / "s", "k", 11, 4, {})
    two = ArrayStore.create(tmp_path / "s", "k", 11, 4, {})
    one.write_shard(0, {"x": data[:4]})
    two.write_shard(1, {"x": data[4:8]})
    one.write_shard(2, {"x": data[8:]})
    assert ArrayStore.open(tmp_path / "s").is_complete


def test_another_key_is_refused(tmp_path: Path, data: np.ndarray) -> None:
    make(tmp_path / "s", data)
    with pytest.raises(StoreError, match="key k with 11 rows"):
        ArrayStore.create(tmp_path / "s", "other", 11, 4, {})


def test_a_truncated_shard_counts_as_missing_also_after_a_write(
    tmp_path: Path, data: np.ndarray
) -> None:
    make(tmp_path / "s", data)
    path = tmp_path / "s" / "shard_00001.x.npy"
    path.write_bytes(path.read_bytes()[:-3])
    store = ArrayStore.open(tmp_path / "s")
    assert store.missing_shards() == [1]
    store.note(seen=1)
    assert store.missing_shards() == [1]
    store.write_shard(1, {"x": data[4:8]})
    np.testing.assert_array_equal(ArrayStore.open(tmp_path / "s").load("x"), data)


def test_a_flipped_byte_is_found_by_verify(tmp_path: Path, data: np.ndarray) -> None:
    store = make(tmp_path / "s", data)
    path = tmp_path / "s" / "shard_00002.x.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="shard_00002"):
        store.verify()


def test_wrong_arrays_are_refused(tmp_path: Path, data: np.ndarray) -> None:
    store = ArrayStore.create(tmp_path / "s", "k", 11, 4, {})
    with pytest.raises(StoreError, match="must have 4 rows, not 3"):
        store.write_shard(0, {"x": data[:3]})
    with pytest.raises(StoreError, match="there is no 3"):
        store.write_shard(3, {"x": data[:3]})
    store.write_shard(0, {"x": data[:4]})
    with pytest.raises(StoreError, match="the others"):
        store.write_shard(1, {"x": data[4:8].astype(np.float32)})
    assert store.missing_shards() == [1, 2]


def test_a_short_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(store_module, "SPARE_BYTES", 0)
    with pytest.raises(DiskFullError, match=r"needs 1,100 bytes.* only 1,000 bytes"):
        ArrayStore.create(tmp_path / "s", "k", 11, 4, {}, row_bytes=100)
    assert not (tmp_path / "s").exists()
    ArrayStore.create(tmp_path / "s", "k", 10, 4, {}, row_bytes=100)


def test_a_missing_or_damaged_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no manifest"):
        ArrayStore.open(tmp_path)
    for content in (b"", b"{", b"[]", b"null", b"7", b'{"key": "x"}', b"\xff\xfe\x00", b"nan"):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(StoreError, match="is damaged: it holds no manifest with a checksum"):
            ArrayStore.open(tmp_path)


def test_every_changed_digit_of_a_manifest_is_seen(tmp_path: Path, data: np.ndarray) -> None:
    make(tmp_path / "s", data)
    path = tmp_path / "s" / "manifest.json"
    content = path.read_text()
    digits = [i for i, letter in enumerate(content) if letter.isdigit()]
    assert len(digits) > 20
    for i in digits:
        path.write_text(content[:i] + str((int(content[i]) + 1) % 10) + content[i + 1 :])
        with pytest.raises(StoreError, match=r"is damaged: it (differs|holds no)"):
            ArrayStore.open(tmp_path / "s")


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from hybrid_pipeline.features.store import ArrayStore

store = ArrayStore.create(Path(sys.argv[1]), "k", 12, 4, {})
store.write_shard(0, {"x": np.full((4, 3), 0)})
def half(file, array, **options):
    file.write(b"half a shard")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
np.save = half
store.write_shard(1, {"x": np.full((4, 3), 1)})
"""


def test_kill_9_in_the_middle_of_a_shard_costs_that_shard(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "s")], env=environment, check=False
    )
    assert process.returncode == -signal.SIGKILL
    store = ArrayStore.create(tmp_path / "s", "k", 12, 4, {})
    assert store.missing_shards() == [1, 2]
    for shard in store.missing_shards():
        store.write_shard(shard, {"x": np.full((4, 3), shard)})
    np.testing.assert_array_equal(store.load("x")[:, 0], np.repeat([0, 1, 2], 4))


def test_equal_stores_have_equal_manifests(tmp_path: Path, data: np.ndarray) -> None:
    make(tmp_path / "a", data)
    make(tmp_path / "b", data)
    assert read_json(tmp_path / "a" / "manifest.json") == read_json(tmp_path / "b/manifest.json")
