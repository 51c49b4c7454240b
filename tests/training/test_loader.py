"""The order of examples and views is a function of the seed and the step, for every arm alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_pipeline.rendering import to_float
from hybrid_pipeline.training.loader import training_batches, training_rows, training_views
from toy_study import IMAGE, toy_data, with_int8


def test_every_example_once_an_epoch():
    for epoch in range(3):
        rows = [training_rows(epoch * 5 + i, 8, 40, seed=1) for i in range(5)]
        assert sorted(np.concatenate(rows)) == list(range(40))


def test_the_incomplete_batch_is_dropped():
    rows = np.concatenate([training_rows(i, 8, 45, seed=1) for i in range(5)])
    assert len(set(rows)) == 40
    assert len(training_rows(5, 8, 45, seed=1)) == 8  # the next epoch begins


def test_fewer_examples_than_a_batch():
    assert sorted(training_rows(3, 64, 10, seed=1)) == list(range(10))


def test_order_is_a_function_of_the_seed():
    one, again, other = (training_rows(2, 8, 40, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    first, second = training_rows(0, 40, 40, seed=1), training_rows(1, 40, 40, seed=1)
    assert not np.array_equal(first, second)  # a new order each epoch


def test_views_are_both_taken():
    views = np.concatenate([training_views(i, 50, seed=1) for i in range(20)])
    assert set(views) == {0, 1}
    assert abs(views.mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)
    assert not np.array_equal(training_views(0, 50, seed=1), training_views(0, 50, seed=2))


def batches(data, first=0, num=7, with_clip=True, seed=4):
    return training_batches(
        data, first_step=first, num_steps=num, batch_size=8, seed=seed, with_clip=with_clip
    )


def test_arms_with_and_without_tokens_see_the_same_images(data):
    pairs = zip(batches(data), batches(data, with_clip=False), strict=True)
    for number, ((step, a), (_, b)) in enumerate(pairs):
        assert step == number
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.targets, b.targets)
        assert a.tokens is not None
        assert b.tokens is None


def test_a_resumed_loader_goes_on_where_it_stopped(data):
    whole = dict(batches(data))
    for step, batch in batches(data, first=4):
        assert torch.equal(batch.images, whole[step].images)
        assert torch.equal(batch.tokens, whole[step].tokens)
    assert [step for step, _ in batches(data, first=7)] == []


def test_a_batch_holds_the_views_it_names(data):
    rows, views = np.array([3, 0, 5]), np.array([1, 0, 1])
    batch = data.batch(rows, views, with_clip=True)
    stored = data.images.load("views")
    assert batch.images.shape == (3, 1, IMAGE, IMAGE)
    for i, (row, view) in enumerate(zip(rows, views, strict=True)):
        assert np.array_equal(batch.images[i, 0].numpy(), to_float(stored[row, view]))
    assert np.array_equal(batch.targets.numpy(), data.table.targets[rows])
    assert np.array_equal(batch.scored.numpy(), data.table.scored[rows])
    assert np.array_equal(batch.clip.numpy(), data.tokens(rows, views))


def test_training_never_sees_another_split(data):
    train = data.table.rows("train")
    seen = {tuple(t) for _, b in batches(data, num=6) for t in b.images.flatten(1)[:, :16].tolist()}
    stored = data.images.load("views")[train].reshape(-1, IMAGE * IMAGE)[:, :16]
    assert seen <= {tuple(t) for t in stored.tolist()}


def test_micro_batches_are_consecutive_parts(data):
    batch = data.batch(np.arange(8), np.zeros(8, dtype=np.int64), with_clip=True)
    parts = list(batch.split(3))
    assert [len(p) for p in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([p.images for p in parts]), batch.images)
    assert torch.equal(torch.cat([p.clip for p in parts]), batch.clip)


def test_tokens_that_were_never_cached_are_named(tmp_path):
    blind = toy_data(tmp_path, with_features=False)
    assert blind.shape.clip_width == 0
    with pytest.raises(ValueError, match="run feature_caching first"):
        blind.tokens(np.array([0]), np.array([0]))


def test_decoding_gives_the_bits_of_the_store(tmp_path):
    """Int8 and float16 tokens, standardised by the decoder and by the store in NumPy."""
    plain = toy_data(tmp_path)
    for data in (plain, with_int8(plain, tmp_path / "int8")):
        rows, views = np.array([3, 0, 50]), np.array([1, 0, 1])
        batch = data.batch(rows, views, with_clip=True)
        assert np.array_equal(batch.clip.numpy(), data.features.gather_view(rows, views))
        assert batch.clip.dtype == torch.float32
