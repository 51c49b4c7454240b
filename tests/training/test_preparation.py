"""Tables, views and features are computed once; each key follows what made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_pipeline.config import ClipConfig, RenderingConfig, StorageConfig
from hybrid_pipeline.tasks.maze import MazeTask
from hybrid_pipeline.training import preparation
from hybrid_pipeline.training.preparation import (
    open_task_data,
    prepare_features,
    prepare_table,
    prepare_views,
)
from toy_study import changed

TASK = MazeTask(source="maze", num_train=12, num_validation=4, num_test=4)
RENDERING = RenderingConfig(rows_per_shard=8, noise={"gaussian_std": 0.25})


def prepare(root: Path, *, task=TASK, rendering=RENDERING, clip=ClipConfig()):  # noqa: B008
    storage = StorageConfig(root=str(root))
    table = prepare_table("maze", task, storage)
    views = prepare_views(table, rendering, storage)
    return table | views | prepare_features(views, clip, storage)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    return root, prepare(root)


def contents(root: Path) -> dict[Path, tuple[int, bytes]]:
    files = (p for p in root.rglob("*") if p.is_file() and p.name != ".lock")  # touched to be held
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_a_second_run_computes_and_writes_nothing(prepared, monkeypatch):
    root, handle = prepared
    before = contents(root)

    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    for name in ("build_table", "_check_drawable", "noisy_views", "_render_shard"):
        monkeypatch.setattr(preparation, name, refuse)
    monkeypatch.setattr("hybrid_pipeline.features.extract.encode_on_device", refuse)
    assert prepare(root) == handle
    assert contents(root) == before


def test_missing_shards_alone_are_rendered_again(prepared, tmp_path, monkeypatch):
    root = tmp_path / "copy"
    handle = prepare(root)
    assert handle == prepared[1]  # the same keys in another folder
    whole = {p.name: p.read_bytes() for p in (root / "05_model_input").rglob("*.npy")}
    assert len(whole) == 3
    next((root / "05_model_input").rglob("shard_00001.views.npy")).unlink()
    rendered = []
    render = preparation._render_shard
    monkeypatch.setattr(
        preparation,
        "_render_shard",
        lambda store, shard, *rest: (rendered.append(shard), render(store, shard, *rest)),
    )
    assert prepare(root) == handle
    assert rendered == [1]
    assert {p.name: p.read_bytes() for p in (root / "05_model_input").rglob("*.npy")} == whole


def test_keys_follow_what_made_them(prepared, tmp_path):
    handle = prepared[1]
    keys = ("table", "views", "features")
    noisier = prepare(tmp_path, rendering=changed(RENDERING, noise__gaussian_std=0.3))
    assert [handle.keys[k] == noisier.keys[k] for k in keys] == [True, False, False]
    reseeded = prepare(tmp_path, rendering=changed(RENDERING, noise_seed=1))
    assert [handle.keys[k] == reseeded.keys[k] for k in keys] == [True, False, False]
    other_data = prepare(tmp_path, task=changed(TASK, data_seed=1))
    assert [handle.keys[k] == other_data.keys[k] for k in keys] == [False, False, False]
    stored = prepare(tmp_path, clip=ClipConfig(storage="int8"))
    assert [handle.keys[k] == stored.keys[k] for k in keys] == [True, True, False]


def test_the_random_tower_has_features_of_its_own(prepared):
    root, handle = prepared
    storage = StorageConfig(root=str(root))
    random = prepare_features(handle, ClipConfig(), storage, random_tower=True)
    assert random.random_features not in (None, handle.features)
    data = open_task_data(handle | random, storage)
    control = open_task_data(handle | random, storage, random_tower=True)
    assert data.features.key == handle.features
    assert control.features.key == random.random_features
    assert data.shape == control.shape


def test_the_opened_task_is_what_was_prepared(prepared):
    root, handle = prepared
    data = open_task_data(handle, StorageConfig(root=str(root)))
    assert handle.splits == {"train": 12, "validation": 4, "test": 4}
    assert data.images.load("views").shape == (20, 2, 64, 64)
    assert data.shape.num_slots == handle.num_slots == 16
    assert 0 <= handle.majority["correct"] <= handle.majority["slots"] <= 1
