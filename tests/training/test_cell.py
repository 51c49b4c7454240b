"""A cell is found under what made it: keys, reruns, divergence and death in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file

from hybrid_pipeline.arms import Arm, chain
from hybrid_pipeline.components import Control
from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.training import cell as cell_module
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.cost import parameter_counts
from hybrid_pipeline.training.loop import build_agent
from hybrid_pipeline.training.spec import NOT_IN_KEY
from toy_study import EVERY_ARM, MODEL, SHAPE, changed, named, toy_spec, without_seconds

FULL = named("arm_5_coconut")
ALL = {arm.name for arm in chain()}
WITH = {c: {a.name for a in chain() if a.has(c)} for c in ("clip", "n2n", "trm", "coconut")}

# Another valid value of every field; a new field without an entry fails the test below.
OTHER: dict[type[BaseModel], dict[str, object]] = {
    TrainingConfig: {
        "epochs": 3.0,
        "global_batch_size": 4,
        "micro_batch_size": 4,
        "eval_interval": 2.0,
        "lr": 1e-4,
        "lr_min_ratio": 0.2,
        "lr_scheduler": "linear",
        "lr_warmup_steps": (5, {"lr_warmup_ratio": None}),
        "lr_warmup_ratio": 0.2,
        "optimizer": "adamw",
        "muon_lr_ratio": 2.0,
        "muon_momentum": 0.5,
        "beta1": 0.8,
        "beta2": 0.9,
        "adam_eps": 1e-6,
        "weight_decay": 0.0,
        "max_grad_norm": None,
        "ema": False,
        "ema_rate": 0.9,
        "loss": "stablemax_cross_entropy",
        "update": "per_supervision_step",
        "precision": "bf16",
        "max_skipped_steps": 3,
        "gradient_checkpointing": True,
        "device": "auto",
        "capture": False,
        "cells_at_once": 3,
        "num_threads": 2,
        "arm": "arm_1_baseline",
        "seed": 9,
        "checkpoint_interval_steps": 7,
    },
    HaltingConfig: {
        "policy": "fixed",
        "min_steps": 2,
        "dqn_warmup_ratio": 0.5,
        "freeze_representation_during_warmup": False,
        "exploration": "epsilon",
        "q_temperature_start": 2.0,
        "q_temperature_end": 0.2,
        "epsilon_start": 0.5,
        "epsilon_end": 0.1,
        "step_cost": 0.02,
        "expansion_penalty_start": 0.2,
        "expansion_penalty_end": 0.002,
        "gamma": 0.9,
        "hidden_dim": 16,
        "lr_dqn": 1e-4,
        "batch_size": 32,
        "updates_per_step": 2,
        "replay_capacity": 512,
        "replay_recent_fraction": 0.25,
        "replay_recent_size": 128,
        "replay_max_age_steps": 20,
        "target_tau": 0.1,
        "target_period": (5, {"target_tau": None}),
    },
}
MODEL_OTHER: dict[str, dict[str, object]] = {
    "core": {
        "dim": 32, "num_layers": 3, "num_heads": 1, "expansion": 3.0, "hidden_multiple": 32,
        "rms_norm_eps": 1e-6, "pos_encodings": "learned", "rope_theta": 5.0, "mlp_t": True,
    },
    "vit": {
        "stem": "conv", "patch_size": 32, "embed_dim": 32, "depth": 3, "num_heads": 1,
        "mlp_ratio": 3.0, "pos_encodings": "sincos",
    },
    "n2n": {"depth": 2, "num_heads": 1, "mlp_ratio": 3.0, "steps": 5, "batch_size": 4, "lr": 1e-4},
    "trm": {
        "H_cycles": 3, "L_cycles": 3, "supervision_steps": 4, "gradient": "one_step",
        "separate_networks": True,
    },
    "coconut": {"num_paths": 3, "num_thoughts": 3, "mix": "probabilities", "diversity_weight": 0.1},
}  # fmt: skip
REACHES = {"core": ALL, "vit": ALL, **{c: WITH[c] for c in ("n2n", "trm", "coconut")}}


def keys(data, **configs) -> dict[str, str]:
    return {arm.name: replace(toy_spec(arm), **configs).key(data) for arm in chain()}


def moved(data, **configs) -> set[str]:
    before, after = keys(data), keys(data, **configs)
    return {name for name in before if before[name] != after[name]}


def test_every_field_has_another_value():
    for model, others in OTHER.items():
        assert set(others) == set(model.model_fields)
    assert set(MODEL_OTHER) == set(ModelConfig.model_fields)
    for group, others in MODEL_OTHER.items():
        assert set(others) == set(ModelConfig.model_fields[group].annotation.model_fields)


def other(config: BaseModel, field: str, value: object) -> BaseModel:
    value, more = value if isinstance(value, tuple) else (value, {})
    assert getattr(config, field) != value
    return changed(config, **{field: value, **more})


@pytest.mark.parametrize("field", OTHER[TrainingConfig])
def test_training_reaches_every_arm(data, field):
    training = other(toy_spec(FULL).training, field, OTHER[TrainingConfig][field])
    assert moved(data, training=training) == (set() if field in NOT_IN_KEY else ALL)


@pytest.mark.parametrize("field", OTHER[HaltingConfig])
def test_halting_reaches_the_arms_that_recurse(data, field):
    halting = other(toy_spec(FULL).halting, field, OTHER[HaltingConfig][field])
    assert moved(data, halting=halting) == WITH["trm"]


@pytest.mark.parametrize(("group", "field"), [(g, f) for g, fs in MODEL_OTHER.items() for f in fs])
def test_a_components_parameter_reaches_the_arms_that_have_it(data, group, field):
    part = other(getattr(MODEL, group), field, MODEL_OTHER[group][field])
    model = MODEL.model_copy(update={group: part})
    assert moved(data, model=model) == REACHES[group]


def test_what_is_out_of_the_key_leaves_the_numbers_alone(data, tmp_path):
    a = run_cell(toy_spec(FULL, checkpoint_interval_steps=1), data, tmp_path / "a")
    b = run_cell(toy_spec(FULL, checkpoint_interval_steps=1000), data, tmp_path / "b")
    assert without_seconds(a.model_dump()) == without_seconds(b.model_dump())


def test_seed_arm_and_data_are_in_the_key(data):
    spec = toy_spec(FULL)
    assert len({toy_spec(FULL, seed=s).key(data) for s in range(4)}) == 4
    assert len({toy_spec(arm).key(data) for arm in EVERY_ARM}) == len(EVERY_ARM)
    other_table = replace(data, table=replace(data.table, key="another"))
    assert spec.key(other_table) != spec.key(data)
    renamed = replace(spec, arm=Arm("another", FULL.components, Control("x", "x", beside="trm")))
    assert renamed.key(data) == spec.key(data)  # names do not make results


def test_frozen_features_reach_the_arms_that_read_them(data):
    other_features = replace(data, features=None)
    moved_by_tower = {
        arm.name
        for arm in EVERY_ARM
        if toy_spec(arm).key(data) != toy_spec(arm).key(other_features)
    }
    reads = {a.name for a in EVERY_ARM if a.has("clip")} | {"control_wide_vit"}
    assert moved_by_tower == reads


def test_a_length_has_the_key_of_a_study_with_that_many_epochs(data):
    whole = toy_spec(FULL, epochs=0.3)
    assert whole.at(1.0).key(data) == whole.key(data)
    assert whole.at(0.5).key(data) == toy_spec(FULL, epochs=0.15).key(data) != whole.key(data)
    assert toy_spec(FULL, epochs=3.0).at(0.1).key(data) == whole.key(data)  # 3 x .1 is .3
    assert (whole.at(0.5).length, whole.at(0.5).training.epochs) == (0.5, 0.15)


def test_a_shorter_training_is_a_study_of_its_own_length(data, tmp_path):
    """Its own complete schedule; a cell found under its key is named as the caller names it."""
    short = run_cell(toy_spec(FULL).at(0.5), data, tmp_path)
    assert (short.updates, short.length) == (6, 0.5)
    updates = pd.read_parquet(tmp_path / short.key / "updates.parquet")
    assert updates["lr"].iloc[-1] < 0.3 * updates["lr"].max()  # falls to its end
    alone = run_cell(toy_spec(FULL, epochs=1.0), data, tmp_path)
    assert alone == short.model_copy(update={"length": 1.0})
    assert "length" not in json.loads((tmp_path / short.key / "result.json").read_text())


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("cells")
    spec = toy_spec(FULL)
    return spec, root, run_cell(spec, data, root)


def test_a_cell_leaves_all_it_promises(data, finished):
    spec, root, result = finished
    folder = root / spec.key(data)
    assert {p.name for p in folder.iterdir()} == {
        "result.json", "scores.parquet", "updates.parquet", "validations.parquet",
        "weights.safetensors", "policy.safetensors", "answers.npz",
        "checksums.json",
    }  # fmt: skip
    scores = pd.read_parquet(folder / "scores.parquet")
    test = data.table.rows("test")
    assert scores["example"].tolist() == data.table.example[test].tolist()
    assert scores["slots_total"].tolist() == data.table.scored[test].sum(1).tolist()
    by_hand = (scores["slots_correct"] / scores["slots_total"]).mean()
    assert result.test_score == pytest.approx(by_hand)
    counts = parameter_counts(build_model(spec.arm, spec.model, data.shape, seed=spec.seed))
    adapter = counts["total"] - counts["trainable"]
    assert 0 < adapter < counts["trainable"]  # fitted without labels, then frozen
    assert result.parameters.model_dump() == counts
    assert set(scores["supervision_steps"]) == {3}
    with np.load(folder / "answers.npz") as kept:
        answers = {name: kept[name] for name in kept.files}
    shapes = {name: array.shape for name, array in answers.items()}
    assert shapes == {"predicted": (12, 3, 4), "halted_at": (12,), "halted_predicted": (12, 4)}
    assert {array.dtype for array in answers.values()} == {np.dtype(np.int16)}
    right = (answers["predicted"][:, -1] == data.table.targets[test]) & data.table.scored[test]
    assert scores["slots_correct"].tolist() == right.sum(1).tolist()
    assert result.mean_steps == pytest.approx(answers["halted_at"].mean())
    assert result.status == "done"
    assert result.updates == len(pd.read_parquet(folder / "updates.parquet")) == 12
    assert len(pd.read_parquet(folder / "validations.parquet")) == 2
    assert {"dqn", "fixed_1", "fixed_2", "fixed_3", "random", "oracle"} == set(result.policies)
    assert result.policies["fixed_3"].score == pytest.approx(result.test_score)
    assert result.policies["dqn"].mean_steps == pytest.approx(result.mean_steps)


def test_the_kept_weights_score_as_the_cell_did(data, finished):
    spec, root, _ = finished
    model = build_model(spec.arm, spec.model, SHAPE, seed=5)
    folder = root / spec.key(data)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    agent = build_agent(model, spec.halting, seed=5)
    agent.q.load_state_dict(load_file(folder / "policy.safetensors"))
    again = cell_module.evaluate(model, data, "test", agent=agent)
    kept = pd.read_parquet(folder / "scores.parquet")
    assert again.scores.slots_correct.tolist() == kept["slots_correct"].tolist()
    with np.load(folder / "answers.npz") as answers:
        assert again.answers.halted_at.tolist() == answers["halted_at"].tolist()
        assert again.answers.halted_predicted.tolist() == answers["halted_predicted"].tolist()


def test_a_second_run_computes_nothing(data, finished, monkeypatch):
    spec, root, result = finished
    folder = root / spec.key(data)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}

    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    for name in ("build_model", "evaluate", "run_stages", "Trainer"):
        monkeypatch.setattr(cell_module, name, refuse)
    assert run_cell(spec, data, root) == result
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before


def test_a_diverged_cell_is_recorded_and_not_tried_again(data, tmp_path, monkeypatch):
    spec = toy_spec(named("arm_1_baseline"), max_skipped_steps=2)

    def broken(*args, **kwargs):
        model = build_model(*args, **kwargs)
        with torch.no_grad():
            model.head.bias.fill_(np.nan)
        return model

    monkeypatch.setattr(cell_module, "build_model", broken)
    result = run_cell(spec, data, tmp_path)
    assert result.status == "diverged"
    assert "2 updates in a row" in result.reason
    folder = tmp_path / spec.key(data)
    assert len(pd.read_parquet(folder / "updates.parquet")) == 2
    monkeypatch.setattr(cell_module, "build_model", None)
    assert run_cell(spec, data, tmp_path) == result


def test_a_cell_that_died_while_evaluating_trains_no_further(data, tmp_path, monkeypatch, finished):
    spec, _, result = finished

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_module, "_keep", die)
    with pytest.raises(KeyboardInterrupt):
        run_cell(spec, data, tmp_path)
    monkeypatch.undo()
    updates = []
    monkeypatch.setattr(cell_module.Trainer, "_update", lambda *args: updates.append(args))
    again = run_cell(spec, data, tmp_path)
    assert updates == []
    assert without_seconds(again.model_dump()) == without_seconds(result.model_dump())


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from toy_study import *
from hybrid_pipeline.training import cell
root, last = Path(sys.argv[1]), int(sys.argv[2])
after = cell.Trainer._after_update

def die(trainer, done):
    after(trainer, done)
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

cell.Trainer._after_update = die
cell.run_cell(toy_spec(named("arm_5_coconut")), toy_data(root / "task"), root / "cells")
"""
NEVER = 0


def child(root: Path, *, killed_after: int) -> int:
    """Run the cell in a process of its own, which dies after some update; its exit code."""
    code = CHILD.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code, str(root), str(killed_after)]
    return subprocess.run(command, timeout=300, check=False).returncode


@pytest.mark.slow
def test_a_killed_cell_ends_as_if_it_had_not_been(data, finished, tmp_path):
    """kill -9 two updates after a checkpoint, then the same command; against a whole run."""
    assert child(tmp_path, killed_after=5) == -signal.SIGKILL
    (checkpoint,) = tmp_path.glob("cells/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] == 3
    assert not (checkpoint.parent / "result.json").exists()
    assert child(tmp_path, killed_after=NEVER) == 0

    spec, root, whole = finished
    folder = root / spec.key(data)
    assert folder.name == checkpoint.parent.name
    assert whole.cell_seconds > whole.seconds > 0
    for path in folder.iterdir():
        twin = checkpoint.parent / path.name
        if path.name == "checksums.json":  # of files with wall times in them
            continue
        if path.suffix == ".json":
            one, other = (without_seconds(json.loads(p.read_text())) for p in (path, twin))
            assert one == other, path.name
        else:
            assert twin.read_bytes() == path.read_bytes(), path.name


def test_an_unknown_arm_has_no_cell(data):
    with pytest.raises(ValueError, match="needs frozen tokens"):
        run_cell(toy_spec(Arm("x", ("clip",))), replace(data, features=None), Path("/nowhere"))
