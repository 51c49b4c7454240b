"""What is said about a study follows from the study."""

from __future__ import annotations

import pytest

from hybrid_pipeline.features.clip import BUNDLED_DISCLOSURE
from hybrid_pipeline.report.assemble import split_disclosures, tower_disclosure
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.tasks.own_table import OwnTable
from hybrid_pipeline.tasks.source import GENERATED_SPLITS
from hybrid_pipeline.tasks.sudoku import SHARED_SOLUTIONS
from hybrid_pipeline.training.handles import TaskHandle, TowerHandle

SIZES = {"num_train": 8, "num_validation": 4, "num_test": 4}
SMALL = {"source": "reasoning_gym", "generator": "mini_sudoku", **SIZES}
LARGE = {"source": "reasoning_gym", "generator": "sudoku", **SIZES}
MAZE = {"source": "maze", **SIZES}
TABLE = {"source": "table", "path": "mine.csv"}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({"a": SMALL, "b": MAZE}, [GENERATED_SPLITS, SHARED_SOLUTIONS]),
        ({"a": LARGE, "b": MAZE}, [GENERATED_SPLITS]),
        ({"a": TABLE}, [*OwnTable.splits_notes]),
        ({"a": MAZE, "b": TABLE}, [GENERATED_SPLITS, *OwnTable.splits_notes]),
    ],
)
def test_splits_are_described_by_the_tasks_of_the_study(
    tasks: dict[str, object], said: list[str]
) -> None:
    assert list(split_disclosures(TasksConfig.model_validate(tasks))) == said


@pytest.mark.parametrize(
    ("source", "slots", "close"),
    [
        ("bundled", (1,), ()),
        ("bundled", (16,), ("task_16",)),
        ("bundled", (1, 16, 81), ("task_16",)),
        ("file", (16,), ()),
    ],
)
def test_the_bundled_tower_is_close_to_grids_only(source, slots, close):
    """It saw 4 x 4 grids; of a table of texts, or of another tower, that must not be said."""
    tower = TowerHandle(source=source, name="tower", key="k", disclosure=BUNDLED_DISCLOSURE)
    handles = {
        f"task_{n}": TaskHandle(task=f"task_{n}", num_slots=n, features_tower=tower) for n in slots
    }
    found = tower_disclosure(handles)
    assert found.close_tasks == close
    assert "not OpenAI's CLIP" in found.said
    assert ("close to" in found.said) is bool(close)
    assert found.said == BUNDLED_DISCLOSURE + (
        " Its pretraining is close to these tasks: task 16." if close else ""
    )
