"""The t4 profile without a T4: it builds, counts its parameters and takes two steps on a CPU."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_pipeline.arms import baseline, full
from hybrid_pipeline.features.extract import FeatureStore
from hybrid_pipeline.features.quantise import ChannelScale, quantise
from hybrid_pipeline.features.store import ArrayStore
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.models.shapes import build_shapes
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.cost import parameter_counts
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.loop import Trainer
from hybrid_pipeline.training.optim import learning_rate, total_steps
from project_conf import groups_of

SIDE, TOKENS, WIDTH, ROWS = 8, 196, 768, 4
SHAPE = InputShape(224, SIDE * SIDE, 2, (SIDE, SIDE), TOKENS, WIDTH)


@pytest.fixture(scope="module")
def groups():
    return groups_of("t4")


def test_the_profile_holds_the_documents_settings(groups):
    training, task = groups["training"], groups["tasks"].root["maze_4x4"]
    assert (training.global_batch_size, training.epochs, task.num_train) == (192, 50, 100_000)
    assert total_steps(training, task.num_train) == 26_000
    assert (training.lr, training.beta1, training.beta2) == (1e-4, 0.9, 0.98)
    assert (training.weight_decay, training.max_grad_norm, training.ema_rate) == (0.1, 1.0, 0.999)
    assert (training.lr_warmup_steps, training.lr_min_ratio) == (3000, 0.1)
    assert training.precision == "fp16"
    assert learning_rate(2999, 26_000, training) == pytest.approx(1e-4)
    assert learning_rate(26_000, 26_000, training) == pytest.approx(1e-5)
    assert (groups["clip"].source, groups["clip"].model) == ("hub", "ViT-B-16-quickgelu")
    assert task.size == SIDE


@pytest.fixture(scope="module")
def model(groups):
    return build_model(full(), groups["model"], SHAPE, seed=0)


def test_the_full_model_trains_about_82_million_parameters(model):
    assert parameter_counts(model)["trainable"] == pytest.approx(82e6, rel=0.03)


def tiny_slice(root: Path) -> TaskData:
    rng = np.random.default_rng(0)
    table = TaskTable(
        name="maze_4x4", key="slice", primary_metric="correct", classes=("off", "on"),
        grid_shape=(SIDE, SIDE), example=np.arange(ROWS),
        split=np.array(["train"] * 2 + ["validation", "test"]), prompt=[""] * ROWS,
        canonical=[str(i) for i in range(ROWS)], targets=rng.integers(0, 2, (ROWS, SIDE * SIDE)),
        scored=np.ones((ROWS, SIDE * SIDE), dtype=bool),
    )  # fmt: skip
    images = ArrayStore.create(root / "views", "v", ROWS, ROWS, {})
    images.write_shard(0, {"views": rng.integers(60, 200, (ROWS, 2, 224, 224)).astype(np.uint8)})
    tokens = rng.normal(size=(ROWS, 2, TOKENS, WIDTH)).astype(np.float32)
    scale = ChannelScale.of(tokens)
    store = FeatureStore.create(root / "tokens", "t", ROWS, ROWS, {"storage": "int8"})
    rounded, scales = quantise(tokens, scale)
    store.write_shard(0, {"tokens": rounded, "token_scales": scales})
    store.note(channels=scale.to_lists(), standardisation=scale.to_lists())
    return TaskData(table, images, store)


@pytest.mark.slow
@pytest.mark.timeout(900)  # 300 s are too few for a processor without vector kernels
def test_two_steps_of_the_full_model_on_a_tiny_slice(groups, model, tmp_path):
    """In fp16 with a loss scaler and gradient checkpointing, as on the card."""
    data = tiny_slice(tmp_path)
    assert data.shape == SHAPE
    training = groups["training"].model_copy(
        update={"device": "cpu", "global_batch_size": 1, "micro_batch_size": 1, "epochs": 1.0}
    )
    before = model.head.weight.detach().clone()
    trainer = Trainer(model, data, training, groups["halting"], seed=0)
    assert trainer.num_steps == 2
    log = trainer.run().log
    assert len(log.updates) == 2
    assert log.updates[-1]["finite"] == 1.0
    skipped = sum(row["finite"] == 0.0 for row in log.updates)  # the first scale is a guess
    assert float(trainer.scale.scale) == 2.0 ** (16 - skipped)
    assert [row["lr"] for row in log.updates] == pytest.approx([1e-4 / 3000, 2e-4 / 3000])
    assert all(0 < row["loss"] < 10 * groups["model"].trm.supervision_steps for row in log.updates)
    assert not torch.equal(trainer.model.head.weight, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6 * 2**20  # KiB


def test_the_baseline_does_not_need_the_tower(groups):
    blind = replace(SHAPE, clip_tokens=0, clip_width=0)
    model = build_shapes(baseline(), groups["model"], blind)
    assert 70e6 < parameter_counts(model)["trainable"] < 82e6
