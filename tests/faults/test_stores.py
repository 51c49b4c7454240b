"""Rot in tables, views and frozen tokens is seen, named and made good from the sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from damage import flip_bytes, replace_bytes, set_aside_of, truncate, zero_half
from hybrid_pipeline.config import ClipConfig, RenderingConfig, StorageConfig
from hybrid_pipeline.features.store import StoreError
from hybrid_pipeline.storage import DamagedError, read_json
from hybrid_pipeline.tasks.maze import MazeTask
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.preparation import (
    open_task_data,
    prepare_features,
    prepare_table,
    prepare_views,
)

TASK = MazeTask(source="maze", num_train=12, num_validation=4, num_test=4)
RENDERING = RenderingConfig(rows_per_shard=8, noise={"gaussian_std": 0.25})
ROWS, ONE_VIEW = np.arange(20), np.arange(20) % 2
SHARDS = {
    "views": ("05_model_input/views/*/shard_00001.views.npy", "float16"),
    "tokens": ("04_feature/*/shard_00001.tokens.npy", "float16"),
    "int8 tokens": ("04_feature/*/shard_00001.tokens.npy", "int8"),
    "scales": ("04_feature/*/shard_00001.token_scales.npy", "int8"),
}
DAMAGES = {
    "eight flipped bytes": flip_bytes,
    "a zeroed half": zero_half,
    "no bytes": lambda path: truncate(path, 0),
    "a cut end": lambda path: truncate(path, path.stat().st_size - 5),
    "no file": lambda path: path.unlink(),
}


def prepare(root: Path, storage: str = "float16") -> TaskHandle:
    where = StorageConfig(root=str(root))
    table = prepare_table("maze", TASK, where)
    views = prepare_views(table, RENDERING, where)
    return table | views | prepare_features(views, ClipConfig(storage=storage), where)


def opened(root: Path, handle: TaskHandle) -> TaskData:
    return open_task_data(handle, StorageConfig(root=str(root)))


def contents(data: TaskData) -> list[np.ndarray]:
    """All that a cell reads of a task."""
    images = data.images.gather("views", ROWS)
    return [data.table.targets, images, data.features.gather_view(ROWS, ONE_VIEW)]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, tuple[Path, dict, list[np.ndarray]]]:
    found = {}
    for storage in ("float16", "int8"):
        root = tmp_path_factory.mktemp(storage) / "data"
        handle = prepare(root, storage)
        found[storage] = root, handle, contents(opened(root, handle))
    return found


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of a prepared data folder that may be damaged."""

    def of(storage: str = "float16"):
        root, handle, kept = whole[storage]
        shutil.copytree(root, tmp_path / "data")
        return tmp_path / "data", handle, kept

    return of


def only(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", SHARDS)
def test_a_damaged_shard_is_made_again_where_it_is_read(copy, caplog, what, damage) -> None:
    pattern, storage = SHARDS[what]
    root, handle, kept = copy(storage)
    path = only(root, pattern)
    before = path.read_bytes()
    DAMAGES[damage](path)
    data = opened(root, handle)
    assert same(contents(data), kept)
    assert path.read_bytes() == before
    assert set_aside_of(root) == ([] if damage == "no file" else [f"{path.name}.damaged"])
    (said,) = [r.getMessage() for r in caplog.records]
    assert str(path) in said
    assert said.endswith("shard 1 of 3 is made again")
    caplog.clear()
    assert same(contents(opened(root, handle)), kept)
    assert prepare(root, storage) == handle
    assert caplog.records == []


def test_every_shard_and_the_views_below_the_tokens_may_be_damaged_at_once(copy, caplog) -> None:
    root, handle, kept = copy()
    shards = sorted(root.rglob("*.npy"))
    assert len(shards) == 6
    for path in shards:
        flip_bytes(path)
    assert same(contents(opened(root, handle)), kept)
    assert set_aside_of(root) == sorted(f"{p.name}.damaged" for p in shards)
    assert len(caplog.records) == 6


@pytest.mark.parametrize("layer", ["05_model_input/views", "04_feature"])
@pytest.mark.parametrize("content", [b"", b'{"key": "x"}', "a digit"])
def test_a_damaged_manifest_is_made_again_by_the_pipeline(copy, caplog, layer, content) -> None:
    root, handle, kept = copy()
    path = only(root, f"{layer}/*/manifest.json")
    before = path.read_bytes()
    manifest = read_json(path)
    manifest["num_rows"] += 1
    replace_bytes(path, content if isinstance(content, bytes) else json.dumps(manifest).encode())
    with pytest.raises(StoreError, match=r"manifest.json is damaged: it .*run the whole pipeline"):
        contents(opened(root, handle))
    assert prepare(root) == handle
    assert path.read_bytes() == before
    assert same(contents(opened(root, handle)), kept)
    assert set_aside_of(root) == ["manifest.json.damaged"]
    (said,) = [r.getMessage() for r in caplog.records]
    assert "manifest.json is damaged" in said
    assert said.endswith("is made again")


def test_changed_standardisation_numbers_are_seen(copy) -> None:
    root, handle, kept = copy()
    path = only(root, "04_feature/*/manifest.json")
    manifest = read_json(path)
    numbers = manifest["meta"]["standardisation"]
    numbers["std"][3] += 0.5
    replace_bytes(path, json.dumps(manifest, indent=1, sort_keys=True).encode())
    with pytest.raises(StoreError, match="differs from its checksum"):
        opened(root, handle)
    prepare(root)
    assert same(contents(opened(root, handle)), kept)


def with_other_targets(path: Path) -> None:
    """A table that is whole and readable but for one class of every answer."""
    table = pq.read_table(path)
    targets = [[1 - t if t < 2 else t for t in row] for row in table["targets"].to_pylist()]
    column = table.schema.get_field_index("targets")
    changed = table.set_column(column, "targets", pa.array(targets))
    path.unlink()
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize("damage", [*DAMAGES, "other targets"])
def test_a_damaged_table_is_made_again(copy, caplog, damage) -> None:
    root, handle, kept = copy()
    path = only(root, "03_primary/tables/*.parquet")
    before = path.read_bytes()
    (with_other_targets if damage == "other targets" else DAMAGES[damage])(path)
    with pytest.raises(DamagedError, match=r"(is missing|its checksum): run the whole pipeline"):
        opened(root, handle)
    assert prepare(root) == handle
    assert path.read_bytes() == before
    assert same(contents(opened(root, handle)), kept)
    if damage != "no file":
        assert set_aside_of(root) == [f"{path.name}.damaged"]
        (said,) = [r.getMessage() for r in caplog.records]
        assert said.endswith("the table is made again")


def test_a_shard_that_cannot_be_made_again_equal_is_an_error(copy, monkeypatch) -> None:
    root, handle, _ = copy()
    flip_bytes(only(root, SHARDS["views"][0]))
    monkeypatch.setattr("hybrid_pipeline.training.preparation.renderer_key", lambda _: "other code")
    with pytest.raises(StoreError, match="cannot be made again here, because code"):
        contents(opened(root, handle))
