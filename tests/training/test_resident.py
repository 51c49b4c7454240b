"""Data on the device: the same bytes as from the stores, shared, and only if it fits."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from hybrid_pipeline.training import resident
from hybrid_pipeline.training.capture import tensors_in
from hybrid_pipeline.training.loader import Choice
from hybrid_pipeline.training.loop import Trainer
from hybrid_pipeline.training.resident import MAX_SHARE, num_bytes, resident_data, shared
from toy_study import (
    CLIP_GRID,
    CLIP_WIDTH,
    HALTING,
    IMAGE,
    TRAINING,
    changed,
    named,
    toy_data,
    toy_model,
    with_int8,
)

CPU = torch.device("cpu")
ROWS = 72


@pytest.fixture(params=["float16", "int8"])
def stored(request, tmp_path):
    plain = toy_data(tmp_path)
    return plain if request.param == "float16" else with_int8(plain, tmp_path / "int8")


def held(data, *, with_clip=True, free=2**40):
    return shared(data, CPU, with_clip=with_clip, free=free)


def test_a_cpu_reads_from_the_stores(data):
    assert resident_data(data, CPU, with_clip=True) is None


@pytest.mark.parametrize("with_clip", [True, False])
def test_what_is_gathered_on_the_device_is_what_the_stores_hold(stored, with_clip):
    rows, views = np.array([40, 0, 7, 71]), np.array([1, 0, 0, 1])
    choice = Choice(torch.from_numpy(rows), torch.from_numpy(views))
    found = held(stored, with_clip=with_clip).gather(choice)
    expected = stored.stored(rows, views, with_clip=with_clip)
    pairs = list(zip(tensors_in(found), tensors_in(expected), strict=True))
    assert len(pairs) == 3 + with_clip + (with_clip and stored.features.is_quantised)
    for a, b in pairs:
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_bytes_are_those_of_the_stores(stored):
    per_token = CLIP_WIDTH + 4 if stored.features.is_quantised else 2 * CLIP_WIDTH
    images = ROWS * 2 * IMAGE**2
    assert num_bytes(stored, with_clip=False) == images
    assert num_bytes(stored, with_clip=True) == images + ROWS * 2 * CLIP_GRID**2 * per_token


def test_data_that_does_not_fit_stays_where_it_is_and_cells_share_what_does(data):
    needed = num_bytes(data, with_clip=True)
    assert held(data, free=int(needed / MAX_SHARE) - 1) is None
    first = held(data, free=int(needed / MAX_SHARE))
    assert held(data, free=0) is first  # it lies there
    assert held(data, with_clip=False) is not first
    del first
    gc.collect()
    assert held(data, free=0) is None  # the last cell took it along


@pytest.mark.parametrize("arm", ["arm_1_baseline", "arm_5_coconut"])
def test_training_on_resident_data_gives_the_same_bits(stored, monkeypatch, arm):
    monkeypatch.setattr(resident, "_held", {})
    found = []
    for resides in (False, True):
        model = toy_model(named(arm))
        runner = Trainer(model, stored, changed(TRAINING, epochs=2), HALTING, seed=0)
        if resides:
            runner.resident = held(stored, with_clip=runner.model.arm.reads_tokens)
        found.append(runner.run())
    streamed, on_device = found
    assert streamed.log.updates == on_device.log.updates
    a, b = streamed.model.state_dict(), on_device.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
