"""Tables, views and features of a task, each under its key: computed once, found ever after."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_pipeline.config import (
    ClipConfig,
    ClipPretrainingConfig,
    RenderingConfig,
    StorageConfig,
    TaskConfig,
)
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.extract import FeatureStore, extract_features, features_key
from hybrid_pipeline.features.pretraining import pretrain
from hybrid_pipeline.features.sources import with_random_weights
from hybrid_pipeline.features.store import ArrayStore, StoreError
from hybrid_pipeline.rendering import UndrawableError, noisy_views, render_prompts, renderer_key
from hybrid_pipeline.storage import DamagedError, Workspace, content_key, read_json, set_aside
from hybrid_pipeline.tasks import (
    TaskSource,
    build_table,
    check_no_leakage,
    source_of,
    source_of_table,
    table_key,
    verify_answers,
)
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.handles import TaskHandle, TowerHandle
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.precision import choose_device
from hybrid_pipeline.training.tracker import current_tracker

_LOG = logging.getLogger(__name__)


def prepare_table(name: str, config: TaskConfig, storage: StorageConfig) -> TaskHandle:
    """Build a task's table, check it and keep it; a known key is not built again.

    Raises:
        LeakageError: when two splits share an example up to the task's symmetries.
        ValueError: when an answer does not pass its verifier, or a user's file is unusable.
    """
    key = table_key(name, config, Path())
    path = Workspace(storage.root).tables / f"{key}.parquet"
    table = _kept_table(path)
    if table is None:
        built = build_table(name, config, Path())
        source = source_of(name, config, Path())
        check_no_leakage(built, source)
        verify_answers(built, source)
        built.to_parquet(path)
        table = TaskTable.from_parquet(path)
    for remark in table.remarks:
        _LOG.warning("Task %s: %s.", name, remark)
    return TaskHandle(
        task=name,
        table=key,
        splits={s: len(table.rows(s)) for s in ("train", "validation", "test")},
        examples_read=table.examples_read,
        repeats_dropped=table.repeats_dropped,
        slots_by_class=table.slots_by_class(),
        remarks=tuple(table.remarks),
        num_slots=table.num_slots,
        classes=tuple(table.classes),
        primary_metric=table.primary_metric,
        majority=table.majority_baseline(),
        chance_scores=table.chance_scores(),
    )


def _kept_table(path: Path) -> TaskTable | None:
    """The table that lies there; one that is damaged is set aside."""
    if not path.exists():
        return None
    try:
        return TaskTable.from_parquet(path)
    except DamagedError as error:
        set_aside(error, path, "the table is made again")
        return None


def open_table(key: str, storage: StorageConfig) -> TaskTable:
    """The table of a key.

    Raises:
        DamagedError: when it is missing or differs from its checksum.
    """
    return TaskTable.from_parquet(Workspace(storage.root).tables / f"{key}.parquet")


def views_key(table: str, rendering: RenderingConfig) -> str:
    """Key of the rendered views: the table and everything that draws and noises it."""
    return content_key("views", table, renderer_key(rendering))


def prepare_views(
    handle: TaskHandle, rendering: RenderingConfig, storage: StorageConfig
) -> TaskHandle:
    """Render and noise every example, shard by shard; finished shards are kept.

    Raises:
        UndrawableError: before anything is drawn, naming the first example and how many more.
    """
    key = views_key(handle.table, rendering)
    root = Workspace(storage.root).images / key
    kept = ArrayStore.found(root)
    if kept is not None and kept.is_complete:
        return TaskHandle(task=handle.task, views=key)
    table = open_table(handle.table, storage)
    store = ArrayStore.create(
        root,
        key,
        len(table.example),
        rendering.rows_per_shard if kept is None else kept.rows_per_shard,
        {
            "num_train": len(table.rows("train")),
            "table": table.key,
            "rendering": rendering.model_dump(mode="json"),
        },
        row_bytes=2 * rendering.image_size**2,
    )
    source = source_of_table(table, Path())
    _check_drawable(table, source, rendering)
    for shard in store.missing_shards():
        _render_shard(store, shard, table, source, rendering)
    return TaskHandle(task=handle.task, views=key)


def open_views(key: str, storage: StorageConfig) -> ArrayStore:
    """The rendered views of a key; a shard that turns out damaged is rendered again."""

    def render_again(store: ArrayStore, shard: int) -> None:
        rendering = RenderingConfig.model_validate(store.meta["rendering"])
        table = open_table(store.meta["table"], storage)
        _check_remade(store, views_key(table.key, rendering))
        _render_shard(store, shard, table, source_of_table(table, Path()), rendering)

    return ArrayStore.open(Workspace(storage.root).images / key, remake=render_again)


def open_features(key: str, storage: StorageConfig) -> FeatureStore:
    """The frozen tokens of a key; a shard that turns out damaged is extracted again."""

    def extract_again(store: FeatureStore, _shard: int) -> None:
        clip = ClipConfig.model_validate(store.meta["clip"])
        tower = load_tower(clip, device=choose_device(clip.device, "clip.device").type)
        images = open_views(store.meta["images"], storage)
        _check_remade(store, features_key(images, tower, clip, int(images.meta["num_train"])))
        extract_features(images, tower, clip, store.root.parent)

    return FeatureStore.open(Workspace(storage.root).features / key, remake=extract_again)


def _check_remade(store: ArrayStore, key: str) -> None:
    """Refuse to mend a store that today's code, libraries or device would make otherwise."""
    if key != store.key:
        raise StoreError(
            f"{store.root} lacks a shard that cannot be made again here, because code, libraries or"
            " the device are others than it was made with: run the whole pipeline again"
        )


def _check_drawable(table: TaskTable, source: TaskSource[Any], rendering: RenderingConfig) -> None:
    try:
        names = [source.label(int(example)) for example in table.example]
        source.check_drawable(table.prompt, rendering, names)
    except UndrawableError as error:
        raise type(error)(f"task {table.name!r}: {error}") from error


def _render_shard(
    store: ArrayStore,
    shard: int,
    table: TaskTable,
    source: TaskSource[Any],
    rendering: RenderingConfig,
) -> None:
    rows = store.shard_rows(shard)
    part = slice(rows.start, rows.stop)
    ids = table.example[part]
    clean = source.paint(table.prompt[part], rendering, [source.label(int(i)) for i in ids])
    store.write_shard(shard, {"views": noisy_views(clean, ids, rendering)})
    current_tracker().progress(shard + 1, store.num_shards, note="rendering")


def prepare_features(
    views: TaskHandle,
    clip: ClipConfig,
    storage: StorageConfig,
    *,
    random_tower: bool = False,
) -> TaskHandle:
    """Extract frozen tokens of both views; what is there is not computed again.

    Args:
        views: of the rendered views.
        clip: which tower.
        storage: where.
        random_tower: the same architecture with random weights, for the control.
    """
    workspace = Workspace(storage.root)
    kind = "random_features" if random_tower else "features"
    if random_tower:
        clip = with_random_weights(clip)
    device = choose_device(clip.device, "clip.device")
    tower = load_tower(clip, device=device.type)
    images = open_views(views.views, storage)
    store = extract_features(
        images,
        tower,
        clip,
        workspace.features,
        on_shard=lambda done, total: current_tracker().progress(done, total, note="encoding"),
    )
    made_by = TowerHandle(
        source=clip.source, name=tower.name, key=tower.key, disclosure=tower.disclosure
    )
    found = {kind: store.key, f"{kind}_tower": made_by}
    return TaskHandle.model_validate({"task": views.task, **found})


def open_task_data(
    handle: TaskHandle, storage: StorageConfig, *, random_tower: bool = False
) -> TaskData:
    """Open what a cell reads: the table, the views and the frozen tokens."""
    features = handle.random_features if random_tower else handle.features
    return TaskData(
        table=open_table(handle.table, storage),
        images=open_views(handle.views, storage),
        features=None if features is None else open_features(features, storage),
    )


def prepare_tower(
    config: ClipPretrainingConfig,
    rendering: RenderingConfig,
    storage: StorageConfig,
    tables: Sequence[TaskHandle],
) -> dict[str, Any]:
    """Pretrain the small tower on rendered strings; a known key is read back.

    Args:
        config: of the pretraining.
        rendering: images and noise are drawn as the tasks' are.
        storage: where.
        tables: handles of the tasks, whose examples must not be among the strings.

    Returns:
        The card, with the folder of ``tower.safetensors`` under ``folder``.
    """

    def paint(prompts: Sequence[str], ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return noisy_views(render_prompts(prompts, rendering), ids, rendering)[:, 0]

    tracker = current_tracker()
    folder = pretrain(
        config,
        paint,
        Workspace(storage.root).towers,
        image_size=rendering.image_size,
        painter_key=renderer_key(rendering),
        painter_facts=rendering.model_dump(mode="json"),
        task_prompts={text for one in tables for text in open_table(one.table, storage).prompt},
        on_step=lambda done, total, _loss: tracker.progress(done, total, note="pretraining"),
    )
    card: dict[str, Any] = read_json(folder / "card.json")
    return card | {"folder": str(folder)}
