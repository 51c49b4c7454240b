"""A trained arm answers new examples as it answered its test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_pipeline.config import ClipConfig, RenderingConfig, StorageConfig
from hybrid_pipeline.prediction import WEIGHTS, Prediction, load_kept, load_trained
from hybrid_pipeline.storage import Workspace
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.evaluation import read_answers
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.preparation import (
    open_task_data,
    prepare_features,
    prepare_table,
    prepare_views,
)
from hybrid_pipeline.training.spec import CellSpec
from toy_study import HALTING, MODEL, TRAINING, changed, named

TASK = {"source": "maze", "num_train": 24, "num_validation": 8, "num_test": 12}
ARM = "arm_4_trm"


@pytest.fixture(scope="module", params=["float16", "int8"])
def cell(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[Path, TaskData]:
    """A maze task with the bundled tower, and TRM trained on it for one epoch."""
    storage = StorageConfig(root=str(tmp_path_factory.mktemp("data")))
    tasks = TasksConfig.model_validate({"maze_4x4": TASK})
    table = prepare_table("maze_4x4", tasks.root["maze_4x4"], storage)
    views = prepare_views(table, RenderingConfig(), storage)
    clip = ClipConfig(storage=request.param, batch_size=16)
    handle = table | views | prepare_features(views, clip, storage)
    data = open_task_data(handle, storage)
    spec = CellSpec(named(ARM), 0, MODEL, changed(TRAINING, epochs=1), HALTING)
    root = Workspace(storage.root).cells
    return root / run_cell(spec, data, root).key, data


def test_new_examples_get_the_answers_that_the_cell_gave(cell: tuple[Path, TaskData]) -> None:
    """Posed, drawn, noised and encoded again: the same classes after every step."""
    folder, data = cell
    arm = load_trained(ARM, folder, data, MODEL)
    rows = data.table.rows("test")
    prompts = [data.table.prompt[row] for row in rows]
    given = arm.answer(prompts, data.table.example[rows].tolist())
    kept = read_answers(folder / "answers.npz").predicted
    assert given.steps.shape == (12, MODEL.trm.supervision_steps, 16)
    assert np.array_equal(given.steps, kept)
    assert given.names[0] == tuple(("off", "on")[v] for v in kept[0, -1])
    assert np.all((given.confidence >= 0.5) & (given.confidence <= 1))


def test_images_and_examples_are_two_ways_to_the_same_answer(cell: tuple[Path, TaskData]) -> None:
    folder, data = cell
    arm = load_trained(ARM, folder, data, MODEL)
    rows = data.table.rows("test")[:5]
    images = data.images.gather("views", rows)[:, 0]
    assert np.array_equal(
        arm.answer_images(images).steps,
        arm.answer([data.table.prompt[r] for r in rows], data.table.example[rows].tolist()).steps,
    )
    with pytest.raises(ValueError, match=r"this arm reads \[N, "):
        arm.answer_images(images[:, :8])


def test_a_kept_arm_answers_without_its_study(cell: tuple[Path, TaskData], tmp_path: Path) -> None:
    folder, data = cell
    arm = load_trained(ARM, folder, data, MODEL)
    arm.keep(tmp_path, folder / WEIGHTS)
    images = data.images.gather("views", data.table.rows("test"))[:, 0]
    kept = load_kept(tmp_path).answer_images(images)
    assert np.array_equal(kept.steps, arm.answer_images(images).steps)
    assert kept.classes == data.table.classes


def test_weights_of_another_model_are_refused(cell: tuple[Path, TaskData]) -> None:
    folder, data = cell
    other = changed(MODEL, core__dim=32)
    with pytest.raises(ValueError, match="load it with the parameters that it was trained with"):
        load_trained(ARM, folder, data, other)
    with pytest.raises(FileNotFoundError, match="has not finished"):
        load_trained(ARM, folder.parent / "none", data, MODEL)


def test_names_and_full_depth_of_a_prediction() -> None:
    steps = np.array([[[0, 0], [1, 0]]], dtype=np.int16)
    given = Prediction(steps, np.ones((1, 2), dtype=np.float32), ("no", "yes"))
    assert given.predicted.tolist() == [[1, 0]]
    assert given.names == [("yes", "no")]
