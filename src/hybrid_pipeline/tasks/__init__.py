"""Tasks as tables: reasoning_gym, mazes, ProsQA-style planning, the user's own file."""

from hybrid_pipeline.tasks.build import (
    LeakageError,
    WrongAnswerError,
    build_table,
    check_no_leakage,
    source_of,
    table_key,
    verify_answers,
)
from hybrid_pipeline.tasks.table import TaskTable

__all__ = [
    "LeakageError",
    "TaskTable",
    "WrongAnswerError",
    "build_table",
    "check_no_leakage",
    "source_of",
    "table_key",
    "verify_answers",
]
