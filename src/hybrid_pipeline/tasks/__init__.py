"""Tasks as tables: reasoning_gym, mazes, ProsQA-style planning, the user's own file or source."""

from hybrid_pipeline.tasks import maze, own_table, planning, sudoku, syllogism
from hybrid_pipeline.tasks.build import (
    LeakageError,
    WrongAnswerError,
    build_table,
    check_no_leakage,
    num_train,
    table_key,
    verify_answers,
)
from hybrid_pipeline.tasks.registry import (
    TasksConfig,
    register_source,
    source_of,
    source_of_table,
)
from hybrid_pipeline.tasks.source import Example, GeneratedSource, TaskSource, TextSource
from hybrid_pipeline.tasks.table import TaskTable

SOURCES = (maze, own_table, planning, sudoku, syllogism)
"""The modules of the project's own sources: importing them registers them."""

__all__ = [
    "SOURCES",
    "Example",
    "GeneratedSource",
    "LeakageError",
    "TaskSource",
    "TaskTable",
    "TasksConfig",
    "TextSource",
    "WrongAnswerError",
    "build_table",
    "check_no_leakage",
    "num_train",
    "register_source",
    "source_of",
    "source_of_table",
    "table_key",
    "verify_answers",
]
