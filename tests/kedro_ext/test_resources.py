"""Sizes that no machine has are refused with bytes before any work; those that fit are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hybrid_pipeline.arms import Arm, baseline, chain, find_arm, full
from hybrid_pipeline.components import component
from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    RuleConfig,
    TrainingConfig,
    VitConfig,
)
from hybrid_pipeline.kedro_ext import resources
from hybrid_pipeline.kedro_ext.resources import check_disk, check_memory, memory_bytes
from hybrid_pipeline.models.hybrid import InputShape, build_model
from hybrid_pipeline.models.needs import COPIES, FLOAT, Need, Sizes, largest_needs, of_vit
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.cards import Card
from project_conf import ENVIRONMENTS, groups_of

TRAINING = {"lr_warmup_ratio": 0.1}
SHAPE = InputShape(64, 16, 5, (4, 4), 64, 96)


def sizes_of(slots: int = 16, image_size: int = 64, **groups: dict[str, Any]) -> Sizes:
    return Sizes(
        ModelConfig.model_validate(groups.get("model", {})),
        TrainingConfig.model_validate(TRAINING | groups.get("training", {})),
        HaltingConfig.model_validate(groups.get("halting", {})),
        slots,
        image_size,
    )


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"model": {"core": {"dim": 65_536}}}, "the core needs .*; lower model.core.dim"),
        ({"model": {"vit": {"embed_dim": 65_536, "depth": 99}}}, "the ViT needs .*embed_dim"),
        ({"halting": {"replay_capacity": 10**8}}, "the replay needs .*halting.replay_capacity"),
        (
            {"training": {"global_batch_size": 2**20}, "model": {"core": {"dim": 1024}}},
            "a batch in the core needs .*micro_batch_size",
        ),
        (
            {"training": {"global_batch_size": 2**20}},
            "a batch in the ViT needs .*micro_batch_size",
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
        check_memory(chain(), sizes_of(**groups))


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_profile_fits_its_own_machine(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "memory_bytes", lambda: 6 * 2**30)
    groups = groups_of(env)
    side = groups["rendering"].image_size
    check_memory(chain(), Sizes(groups["model"], groups["training"], groups["halting"], 64, side))


def test_the_estimate_of_weights_is_a_lower_bound_and_near() -> None:
    parts = {need.name: need.num_bytes for need in largest_needs([baseline()], sizes_of())}
    built = sum(p.numel() for p in build_model(full(), ModelConfig(), SHAPE, seed=0).parameters())
    estimated = (parts["the core"] + parts["the ViT"]) / (FLOAT * COPIES)
    assert 0.3 * built < estimated <= built


def bytes_of(name: str, *arms: str, **groups: dict[str, Any]) -> int:
    needs = largest_needs([find_arm(arm) for arm in arms], sizes_of(**groups))
    return sum(need.num_bytes for need in needs if need.name == name)


def test_a_component_and_a_control_add_what_their_records_say() -> None:
    """By hand: a core per network, a batch per pass with a graph, of the largest arm."""
    one = bytes_of("the core", "arm_3_n2n")
    assert bytes_of("the core", "arm_4_trm") == one
    two = {"model": {"trm": {"separate_networks": True}}}
    assert bytes_of("the core", "arm_4_trm", "arm_1_baseline", **two) == 2 * one
    steps = {"model": {"trm": {"supervision_steps": 3, "H_cycles": 2, "L_cycles": 4}}}
    assert bytes_of("the core", "control_deep_core", "arm_5_coconut", **steps) == 30 * one
    batch = bytes_of("a batch in the core", "control_deep_core", **steps)
    assert bytes_of("a batch in the core", "arm_4_trm", **steps) == 10 * batch
    steps["model"]["trm"]["gradient"] = "last_updates"
    assert bytes_of("a batch in the core", "arm_4_trm", **steps) == 2 * batch
    assert bytes_of("a batch of the N2N stage", "arm_2_clip", "arm_4_trm") > 0
    assert bytes_of("a batch of the N2N stage", "arm_2_clip", "subset_CT") == 0
    assert bytes_of("the replay", "arm_4_trm", halting={"policy": "fixed"}) == 0
    assert largest_needs([], sizes_of()) == largest_needs([baseline()], sizes_of())


def test_a_component_of_ones_own_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_mine(sizes: Sizes) -> list[Need]:
        return [sizes.cores(3), Need("mine", 7, "model.mine")]

    own = replace(component("trm"), needs="a:function")
    monkeypatch.setattr("hybrid_pipeline.arms.component", lambda name: own)
    monkeypatch.setattr("hybrid_pipeline.models.needs.resolve", lambda path: of_mine)
    needs = {need.name: need for need in largest_needs([Arm("arm_x", ("trm",))], sizes_of())}
    assert needs["mine"].num_bytes == 7
    assert needs["the core"].num_bytes == 4 * sizes_of().cores(1).num_bytes


def test_a_card_that_is_too_small_is_named_with_its_bytes() -> None:
    """The t4 profile in one pass of 192 examples: 11.9 GiB of activations (measured: FACTS)."""
    groups = groups_of("t4")
    training = groups["training"]

    def check_on(gib: float, **changes: Any) -> None:
        card = Card("GeForce", int(gib * 2**30), (8, 6), has_bf16=True)
        changed = training.model_copy(update=changes)
        sizes = Sizes(groups["model"], changed, groups["halting"], 64, 224)
        check_memory(chain(), sizes, card=card)

    check_on(14.56)
    one_pass = {"micro_batch_size": 192, "gradient_checkpointing": False}
    said = r"of memory on GeForce and .*a batch in the ViT needs .*training.micro_batch_size"
    with pytest.raises(ConfigError, match=said):
        check_on(8.0, **one_pass)
    check_on(8.0, **one_pass | {"gradient_checkpointing": True})
    with pytest.raises(ConfigError, match="memory on GeForce"):
        check_on(1.0)


def test_the_estimate_of_a_vits_activations_is_a_lower_bound_and_near() -> None:
    """Measured for a trained ViT-B/16 in fp16: 63.3 MiB per example, 7.8 with checkpointing."""
    vit = VitConfig(
        patch_size=16, embed_dim=768, depth=12, num_heads=12, mlp_ratio=4.0, stem="patch"
    )
    training = TrainingConfig.model_validate(
        TRAINING | {"precision": "fp16", "global_batch_size": 1}
    )
    model = ModelConfig(vit=vit)
    rules = RuleConfig()
    for checkpointing, measured in (
        (False, rules.activation_mib_per_sample),
        (True, rules.checkpointed_mib_per_sample),
    ):
        config = training.model_copy(update={"gradient_checkpointing": checkpointing})
        sizes = Sizes(model, config, HaltingConfig(), 16, 224)
        kept = list(of_vit(sizes))[1].num_bytes / 2**20
        assert 0.8 * measured < kept <= measured


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
