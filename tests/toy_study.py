"""A task that is learnt in seconds, with real stores on disk: four slots, three classes.

The image's quadrants hold blobs whose grey level is the class; the frozen tokens hold the class as
one channel. One slot of each example may be given and is then not scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hybrid_pipeline.arms import Arm, chain, control_arms
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.features.extract import FeatureStore
from hybrid_pipeline.features.quantise import ChannelScale, quantise
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.models.hybrid import HybridModel, build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.rendering.levels import from_float
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.loader import Batch, TaskData
from hybrid_pipeline.training.losses import example_losses
from hybrid_pipeline.training.spec import CellSpec

SIDE, CLASSES, IMAGE, CLIP_GRID, CLIP_WIDTH = 2, 3, 64, 4, 8
SLOTS = SIDE * SIDE
SHAPE = InputShape(IMAGE, SLOTS, CLASSES, (SIDE, SIDE), CLIP_GRID**2, CLIP_WIDTH)
EVERY_ARM: tuple[Arm, ...] = (*chain(), *control_arms().values())

MODEL = ModelConfig.model_validate(
    {
        "core": {"dim": 16, "num_heads": 2, "num_layers": 1, "hidden_multiple": 8},
        "vit": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2, "stem": "patch"},
        "n2n": {"steps": 3, "batch_size": 8, "num_heads": 2},
        "trm": {"H_cycles": 2, "L_cycles": 1, "supervision_steps": 3},
        "coconut": {"num_paths": 2, "num_thoughts": 1},
    }
)
TRAINING = TrainingConfig(
    epochs=4,
    global_batch_size=8,
    lr=5e-3,
    lr_warmup_ratio=0.1,
    optimizer="muon",
    eval_interval=1,
    checkpoint_interval_steps=3,
)
HALTING = HaltingConfig(dqn_warmup_ratio=0.25, batch_size=16, replay_capacity=256, hidden_dim=8)


def changed(config: Any, **values: Any) -> Any:
    """A configuration with other values, checked again; dots reach into groups."""
    plain = config.model_dump(mode="json")
    for name, value in values.items():
        *groups, field = name.split("__")
        target = plain
        for group in groups:
            target = target[group]
        target[field] = value
    return type(config).model_validate(plain)


def toy_table(num_train: int = 48, num_validation: int = 12, num_test: int = 12) -> TaskTable:
    """Random targets; slot 0 is given in every other example."""
    splits = ["train"] * num_train + ["validation"] * num_validation + ["test"] * num_test
    rng = np.random.default_rng(5)
    targets = rng.integers(0, CLASSES, (len(splits), SLOTS))
    scored = np.ones_like(targets, dtype=bool)
    scored[::2, 0] = False
    return TaskTable(
        name="toy",
        key="toy-table",
        primary_metric="slots",
        classes=tuple("abc"),
        grid_shape=(SIDE, SIDE),
        example=np.arange(len(splits)) + 100,
        split=np.array(splits),
        prompt=[""] * len(splits),
        canonical=[str(i) for i in range(len(splits))],
        targets=targets,
        scored=scored,
    )


def toy_data(root: Path, *, with_features: bool = True, **sizes: int) -> TaskData:
    """The task with its views and, unless told otherwise, its frozen tokens, in ``root``."""
    table = toy_table(**sizes)
    rows, rng = len(table.example), np.random.default_rng(6)
    quadrants = (table.targets / (CLASSES - 1)).reshape(rows, 1, SIDE, SIDE)
    ink = quadrants.repeat(IMAGE // SIDE, 2).repeat(IMAGE // SIDE, 3)
    noisy = ink + rng.normal(0, 0.2, (rows, 2, IMAGE, IMAGE))
    images = ArrayStore.create(root / "views", "toy-views", rows, 32, {})
    for shard in images.missing_shards():
        part = images.shard_rows(shard)
        images.write_shard(shard, {"views": from_float(noisy[part].astype(np.float32))})
    return TaskData(table, images, _toy_features(root, table, rng) if with_features else None)


def _toy_features(root: Path, table: TaskTable, rng: np.random.Generator) -> FeatureStore:
    rows = len(table.example)
    onehot = np.eye(CLIP_WIDTH)[table.targets].reshape(rows, 1, SIDE, SIDE, CLIP_WIDTH)
    times = CLIP_GRID // SIDE
    clean = onehot.repeat(times, 2).repeat(times, 3).reshape(rows, 1, CLIP_GRID**2, CLIP_WIDTH)
    tokens = clean + rng.normal(0, 0.3, (rows, 2, CLIP_GRID**2, CLIP_WIDTH))
    store = FeatureStore.create(root / "tokens", "toy-tokens", rows, 32, {"storage": "float16"})
    for shard in store.missing_shards():
        part = store.shard_rows(shard)
        store.write_shard(shard, {"tokens": tokens[part].astype(np.float16)})
    store.note(standardisation=ChannelScale.of(tokens).to_lists())
    return store


def with_int8(data: TaskData, folder: Path) -> TaskData:
    """The same task with its tokens in int8, far from standardised, in ``folder``."""
    exact = 3 * np.concatenate([data.features.raw_shard(i) for i in range(3)], dtype=np.float32) + 1
    channels = ChannelScale.of(exact)
    meta = {"storage": "int8", "channels": channels.to_lists()}
    store = FeatureStore.create(folder, "toy-int8", len(exact), 32, meta)
    for shard in store.missing_shards():
        rounded, scales = quantise(exact[store.shard_rows(shard)], channels)
        store.write_shard(shard, {"tokens": rounded, "token_scales": scales})
    store.note(standardisation=ChannelScale.of(exact[:48]).to_lists())
    return TaskData(data.table, data.images, store)


def toy_batch(data: TaskData, size: int = 6, *, first: int = 0) -> Batch:
    """Some training rows in their first view, with tokens."""
    rows = np.arange(first, first + size)
    return data.batch(rows, np.zeros(size, dtype=np.int64), with_clip=data.features is not None)


def toy_model(arm: Arm, *, seed: int = 0, **changes: Any) -> HybridModel:
    """An arm in toy size."""
    return build_model(arm, changed(MODEL, **changes), SHAPE, seed=seed)


def full_depth_losses(model: HybridModel, batch: Batch) -> list[Tensor]:
    """The summed loss of each supervision step, planning in every step: one graph, step by step."""
    x = model.encode(batch.images, batch.clip).x
    carry, losses = model.initial_carry(x), []
    for _ in range(model.max_steps):
        out = model.step(carry, x)
        losses.append(example_losses(out.logits, batch.targets, batch.scored).sum())
        carry = out.carry.detach()
    return losses


def toy_spec(arm: Arm, *, seed: int = 0, **changes: Any) -> CellSpec:
    """A cell of two epochs; ``changes`` go to the training."""
    training = changed(TRAINING, **{"epochs": 2, **changes})
    return CellSpec(arm, seed, MODEL, training, HALTING)


def named(arm: str) -> Arm:
    """One of the arms and controls."""
    return next(a for a in EVERY_ARM if a.name == arm)


TIMES = ("seconds", "cell_seconds")


def without_seconds(value: Any) -> Any:
    """The same without wall times."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in TIMES}
    return value
