"""Sizes that no machine has are refused with bytes before any work; those that fit are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_pipeline.arms import baseline, chain, full
from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    TrainingConfig,
)
from hybrid_pipeline.kedro_ext import resources
from hybrid_pipeline.kedro_ext.resources import check_disk, check_memory, memory_bytes
from hybrid_pipeline.models.hybrid import InputShape, build_model
from hybrid_pipeline.tasks import TasksConfig
from project_conf import ENVIRONMENTS, groups_of

TRAINING = {"lr_warmup_ratio": 0.1}
SHAPE = InputShape(64, 16, 5, (4, 4), 64, 96)


def check(slots: int = 16, **groups: dict[str, Any]) -> None:
    check_memory(
        chain(),
        ModelConfig.model_validate(groups.get("model", {})),
        TrainingConfig.model_validate(TRAINING | groups.get("training", {})),
        HaltingConfig.model_validate(groups.get("halting", {})),
        slots,
    )


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"model": {"core": {"dim": 65_536}}}, "the core needs .*; lower model.core.dim"),
        ({"model": {"vit": {"embed_dim": 65_536, "depth": 99}}}, "the ViT needs .*embed_dim"),
        ({"halting": {"replay_capacity": 10**8}}, "the replay needs .*halting.replay_capacity"),
        (
            {"training": {"global_batch_size": 2**20}},
            "a batch in the core needs .*micro_batch_size",
        ),
        ({"model": {"n2n": {"batch_size": 2**20}}}, "a batch of the N2N stage needs"),
        ({"model": {"coconut": {"num_paths": 64}}, "slots": 10**4}, "COCONUT's mask needs"),
    ],
)
def test_what_no_memory_holds_is_refused_with_bytes(
    groups: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "memory_bytes", lambda: 6 * 2**30)
    with pytest.raises(ConfigError, match=rf"at least [\d,]+ bytes .* of memory and .*{said}"):
        check(**groups)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_profile_fits_its_own_machine(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "memory_bytes", lambda: 6 * 2**30)
    groups = groups_of(env)
    check_memory(chain(), groups["model"], groups["training"], groups["halting"], 64)


def test_the_estimate_of_weights_is_a_lower_bound_and_near() -> None:
    model = ModelConfig()
    parts = {
        p.name: p.num_bytes
        for p in resources._in_memory(
            [baseline()], model, TrainingConfig.model_validate(TRAINING), HaltingConfig(), 16
        )
    }
    built = sum(p.numel() for p in build_model(full(), model, SHAPE, seed=0).parameters())
    estimated = (parts["the core"] + parts["the ViT"]) / (resources.FLOAT * resources.COPIES)
    assert 0.3 * built < estimated <= built


def test_the_memory_of_this_machine_is_known() -> None:
    assert 2**28 < memory_bytes() < 2**50


def test_what_no_disk_holds_is_refused_unless_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"num_train": 90, "num_validation": 5, "num_test": 5}
    tasks = TasksConfig.model_validate({"a": {"source": "maze", **rows}})
    free = 2 * 100 * (64 * 64 + 49 * 96) - 1
    usage = type("Usage", (), {"free": free})()
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage)
    clip = ClipConfig(storage="int8")
    with pytest.raises(ConfigError, match=r"bytes .* of disk and .*tasks.a.num_train"):
        check_disk(tasks, RenderingConfig(), clip, tmp_path / "data")
    made = tmp_path / "data" / "04_feature" / "a.npy"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"1")
    check_disk(tasks, RenderingConfig(), clip, tmp_path / "data")
