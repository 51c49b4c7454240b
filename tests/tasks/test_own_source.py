"""A task source of one's own: the how-to, followed word for word; what a source may not lack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hybrid_pipeline.config import ConfigError, GeneratedTask, TaskConfig
from hybrid_pipeline.plugins import load_plugins
from hybrid_pipeline.tasks import Example, GeneratedSource, register_source
from hybrid_pipeline.tasks.maze import MazeTask
from own_package import blocks, copy_project, how_to, run_in

PAGE = how_to("add-a-task-source.md")


def block(language: str) -> str:
    (text,) = blocks(PAGE, language)
    return text


@pytest.mark.slow
def test_the_how_to_gives_a_table_and_its_images(tmp_path: Path) -> None:
    copy_project(tmp_path)
    (tmp_path / "src/mine/lights_out.py").write_text(block("python"))
    (tmp_path / "conf/local/parameters.yml").write_text(block("yaml"))
    (command,) = block("bash").splitlines()
    run_in(tmp_path, *command.split(), "--runner", "SequentialRunner")
    table = json.loads((tmp_path / "data/03_primary/lights.table.json").read_text())
    assert table["splits"] == {"train": 60, "validation": 8, "test": 12}
    assert table["classes"] == ["leave", "press"]
    images = [np.load(path) for path in (tmp_path / "data/05_model_input").rglob("*.npy")]
    assert sum(len(shard) for shard in images) == 80


class Incomplete(GeneratedSource[GeneratedTask]):
    classes = ("a", "b")
    grid_shape = None

    def examples(self) -> Iterator[Example]:
        yield Example("x", (0,), (True,))


class IncompleteTask(GeneratedTask):
    source: Literal["incomplete"]


def test_a_source_without_a_canonical_form_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match=r"task source 'incomplete' lacks canonical, paint, verify"):
        register_source(IncompleteTask)(Incomplete)


def test_a_name_is_given_once_and_a_task_has_one() -> None:
    with pytest.raises(ValueError, match=r"'maze' is registered twice: by .*maze.Maze and by"):
        register_source(MazeTask)(lambda name, task, base_dir: None)
    with pytest.raises(TypeError, match="needs a field source"):
        register_source(TaskConfig)


def test_a_plugin_that_cannot_be_imported_is_refused_by_name(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"'plugins' names 'no.such', which cannot be imported"):
        load_plugins(["no.such"])
    (tmp_path / "clashing_plugin.py").write_text(
        "from hybrid_pipeline.tasks import register_source\n"
        "from hybrid_pipeline.tasks.maze import Maze, MazeTask\n"
        "@register_source(MazeTask)\nclass Mine(Maze):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"clashing_plugin.*registered twice"):
        load_plugins(["clashing_plugin"])
