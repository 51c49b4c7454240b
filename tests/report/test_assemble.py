"""What is said about a study follows from the study."""

from __future__ import annotations

import pytest

from hybrid_pipeline.report.assemble import split_disclosures
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.tasks.own_table import OwnTable
from hybrid_pipeline.tasks.source import GENERATED_SPLITS
from hybrid_pipeline.tasks.sudoku import SHARED_SOLUTIONS

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
