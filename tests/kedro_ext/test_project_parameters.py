"""Parameters are refused before any work, in one sentence with key, value and what is allowed."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import configure_project

from hybrid_pipeline.config import ConfigError, TrainingConfig
from hybrid_pipeline.kedro_ext import project_parameters
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    check_files,
    current_parameters,
    store_state,
    update_state,
    validate_parameters,
)

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = {
    "tasks": {"maze": {"source": "maze", "num_train": 8, "num_validation": 2, "num_test": 2}},
    "training": {"lr_warmup_ratio": 0.1},
}


def _with(path: str, value: Any) -> dict[str, Any]:
    parameters = copy.deepcopy(GOOD)
    *folders, last = path.split(".")
    place = parameters
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return parameters


@pytest.fixture(autouse=True)
def _fresh_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_parameters, "_state", None)


def test_good_parameters_become_models() -> None:
    groups = validate_parameters(GOOD)
    assert isinstance(groups["training"], TrainingConfig)
    assert groups["training"].lr_warmup_ratio == 0.1
    assert groups["clip"] == {}


@pytest.mark.parametrize(
    ("path", "value", "fragments"),
    [
        ("trainin", {"lr": 1.0}, ["unknown parameter 'trainin'", "did you mean 'training'?"]),
        ("training.epoch", 3, ["'training.epoch'", "did you mean 'epochs'?"]),
        ("training.lr", 5, ["'training.lr' = 5", "less than or equal to 1"]),
        ("training.arm", "arm_9", ["'training.arm'", "unknown arm 'arm_9'", "arm_4_trm"]),
        ("training", "fast", ["'training'", "'fast'"]),
        ("model.trm.H_cycle", 1, ["'model.trm.H_cycle'", "did you mean 'H_cycles'?"]),
        ("tasks.maze.num_train", 0, ["tasks.maze", "num_train", "= 0"]),
        ("tasks", {}, ["'tasks'", "at least one task"]),
        ("clip.source", "hub", ["'clip'", "source 'hub' needs 'model'"]),
        ("tasks.mean", GOOD["tasks"]["maze"], ["task name 'mean' is kept for the mean over tasks"]),
        ("training.epochs", float("inf"), ["'training.epochs' = inf", "finite"]),
        ("stability.epochs", float("inf"), ["'stability.epochs' = inf", "finite"]),
        ("stability.arm", "arm_9", ["'stability.arm' is refused", "arm_4_trm"]),
        ("ablation", {"looks": [], "sequential": True}, ["looks () must be one number or more"]),
        ("ablation", {"looks": [0, 1]}, ["looks (0, 1) must be one number or more, from 1"]),
        ("model.vit.patch_size", 6, ["patch_size 6 must be a power of two"]),
        ("model.vit.patch_size", 128, ["patch_size' = 128", "divide rendering.image_size 64"]),
        (
            "model.vit",
            {"embed_dim": 18, "num_heads": 3, "pos_encodings": "sincos"},
            ["embed_dim 18 must be a multiple of 4"],
        ),
        ("model.core.dim", 20, ["dim 20 over num_heads 4 must be even"]),
        ("model.core.expansion", 0.0001, ["at dim 64 it must be at least 0.0234"]),
        (
            "tasks.sudoku",
            GOOD["tasks"]["maze"]
            | {"source": "reasoning_gym", "generator": "mini_sudoku"}
            | {"options": {"min_empty": 0, "max_empty": 0}},
            ["option 'min_empty' = 0 must be 1 to 12"],
        ),
        (
            "claims",
            {"source": "x", "statements": []},
            ["'claims' is refused: there is no statement"],
        ),
    ],
)
def test_a_bad_parameter_is_one_sentence(path: str, value: Any, fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        validate_parameters(_with(path, value))
    message = str(refused.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


MAZE_FIELDS = (
    "data_seed, extra_openings, min_path_steps, num_test, num_train, num_validation,"
    " primary_metric, size, source"
)
SOURCES = "(allowed: maze, planning, reasoning_gym, table)."


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "tasks.maze.sizes",
            3,
            "unknown parameter 'tasks.maze.sizes'; did you mean 'size'? (allowed here: "
            f"{MAZE_FIELDS}).",
        ),
        (
            "tasks.maze.num_train",
            0,
            "parameter 'tasks.maze.num_train' = 0 is refused: input should be greater than or equal"
            " to 1.",
        ),
        (
            "tasks.maze.source",
            "mase",
            f"parameter 'tasks.maze.source' = 'mase' is refused: did you mean 'maze'? {SOURCES}",
        ),
        ("tasks.mine", {"num_train": 8}, f"missing parameter 'tasks.mine.source' {SOURCES}"),
        (
            "ablation.controls",
            "wide_vit",
            "parameter 'ablation.controls' = 'wide_vit' is refused: input should be a valid"
            " boolean, unable to interpret input, or input should be a valid list.",
        ),
    ],
)
def test_the_key_is_the_one_that_was_written(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        validate_parameters(_with(path, value))
    assert str(refused.value) == sentence


def test_all_mistakes_are_named_at_once() -> None:
    parameters = _with("training.lr", 5) | {"modle": {}}
    with pytest.raises(ConfigError, match=r"modle.*training\.lr"):
        validate_parameters(parameters)


def test_tasks_are_needed() -> None:
    with pytest.raises(ConfigError, match="missing parameter group 'tasks'"):
        validate_parameters({"training": {"lr_warmup_ratio": 0.1}})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    parameters = _with("tasks.mine", {"source": "table", "path": "data/mine.csv"})
    with pytest.raises(ConfigError, match=r"'tasks.mine.path' = 'data/mine.csv' is refused"):
        check_files(parameters, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.csv").touch()
    check_files(parameters, tmp_path)
    with pytest.raises(ConfigError, match=r"'clip.path' = 'tower.pt'"):
        check_files(_with("clip", {"source": "file", "model": "m", "path": "tower.pt"}), tmp_path)


def test_the_stored_state_is_what_the_registry_reads(tmp_path: Path) -> None:
    update_state(env="smoke")  # without a state, nothing happens
    store_state(ProjectState(tmp_path, "smoke", GOOD))
    assert current_parameters() is GOOD
    update_state(progress_dir=tmp_path)
    state = project_parameters.current_state()
    assert state is not None
    assert (state.env, state.progress_dir) == ("smoke", tmp_path)
    assert state.data_dir == tmp_path / "data"


def test_outside_a_project_there_are_no_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no Kedro project in"):
        current_parameters()


def test_without_a_context_the_configuration_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("conf", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    configure_project("hybrid_pipeline")
    first = current_parameters()
    assert current_parameters() is first
    (tmp_path / "conf/local").mkdir(exist_ok=True)
    (tmp_path / "conf/local/parameters.yml").write_text("training: {epochs: 7}\n")
    assert current_parameters()["training"]["epochs"] == 7
