"""From a source to a table: splits by what is posed up to symmetry, then two checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hybrid_pipeline.config import (
    MazeTask,
    PlanningTask,
    ReasoningGymTask,
    TableTask,
    TaskConfig,
)
from hybrid_pipeline.storage import code_fingerprint, content_key, file_key, library_versions
from hybrid_pipeline.tasks.example import Example, Source
from hybrid_pipeline.tasks.maze import maze_source
from hybrid_pipeline.tasks.sudoku import sudoku_source
from hybrid_pipeline.tasks.table import SPLITS, Split, TaskTable
from hybrid_pipeline.tasks.text import generator_source, planning_source, table_source

MAX_DRAWS_PER_EXAMPLE = 50


class LeakageError(ValueError):
    """Two splits share an example, or one that is the same up to the task's symmetries."""


class WrongAnswerError(ValueError):
    """A generated answer does not pass the task's verifier."""


def source_of(task: TaskConfig, base_dir: Path) -> Source:
    """The source that a configuration names."""
    if isinstance(task, MazeTask):
        return maze_source(task)
    if isinstance(task, PlanningTask):
        return planning_source(task)
    if isinstance(task, TableTask):
        return table_source(task, base_dir)
    return sudoku_source(task) if "sudoku" in task.generator else generator_source(task)


def table_key(name: str, task: TaskConfig, base_dir: Path) -> str:
    """Key of a table: its configuration (or file), the generators and this code."""
    parameters = task.model_dump(mode="json")
    if isinstance(task, TableTask) and (base_dir / task.path).is_file():
        parameters["path"] = file_key(base_dir / task.path)
    versions = library_versions("reasoning-gym") if isinstance(task, ReasoningGymTask) else {}
    return content_key(name, parameters, versions, code_fingerprint("tasks", "seeding.py"))


def build_table(name: str, task: TaskConfig, base_dir: Path) -> TaskTable:
    """Draw examples until every split is full.

    An example's split is a function of its canonical form alone, so examples that are the same as
    posed up to symmetry are always in one split. Exact repeats are drawn once.

    Raises:
        ValueError: when the source cannot fill the splits.
        ConfigError: for an unusable file.
    """
    source = source_of(task, base_dir)
    examples, ids, splits = _fill(name, task, source)
    order = np.argsort([SPLITS.index(s) for s in splits], kind="stable")
    chosen = [examples[i] for i in order]
    return TaskTable(
        name=name,
        key=table_key(name, task, base_dir),
        primary_metric=task.primary_metric,
        classes=source.classes,
        grid_shape=source.grid_shape,
        example=np.array(ids, dtype=np.int64)[order],
        split=np.array(splits)[order],
        posed=[e.posed for e in chosen],
        canonical=[e.canonical for e in chosen],
        targets=np.array([e.answer for e in chosen], dtype=np.int64),
        scored=np.array([e.scored for e in chosen], dtype=bool),
    )


def _fill(
    name: str, task: TaskConfig, source: Source
) -> tuple[list[Example], list[int], list[Split]]:
    shares, wanted = _shares(task)
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    examples, ids, splits, seen = list[Example](), list[int](), list[Split](), set[str]()
    for index, example in _bounded(source.examples(), wanted):
        split = split_of(example.canonical, shares, task.data_seed)
        if example.posed in seen or (wanted is not None and counts[split] >= wanted[split]):
            continue
        seen.add(example.posed)
        counts[split] += 1
        examples.append(example)
        ids.append(index)
        splits.append(split)
        if counts == wanted:
            break
    if min(counts.values()) == 0 or (wanted is not None and counts != wanted):
        raise ValueError(
            f"task {name!r} cannot fill its splits: wanted {wanted or 'each'}, found {counts} "
            "examples that differ; ask for fewer or make the task larger"
        )
    return examples, ids, splits


def _bounded(
    stream: Iterator[Example], wanted: dict[Split, int] | None
) -> Iterator[tuple[int, Example]]:
    limit = None if wanted is None else MAX_DRAWS_PER_EXAMPLE * sum(wanted.values())
    for index, example in enumerate(stream):
        if limit is not None and index >= limit:
            return
        yield index, example


def _shares(task: TaskConfig) -> tuple[tuple[float, float], dict[Split, int] | None]:
    """Shares of validation and test among canonical forms, and the counts to reach."""
    if isinstance(task, TableTask):
        return (task.validation_share, task.test_share), None
    wanted: dict[Split, int] = {
        "train": task.num_train,
        "validation": task.num_validation,
        "test": task.num_test,
    }
    total = sum(wanted.values())
    return (task.num_validation / total, task.num_test / total), wanted


def split_of(canonical: str, shares: tuple[float, float], seed: int) -> Split:
    """The split of a canonical form: a hash, so it needs no knowledge of other examples."""
    digest = hashlib.blake2b(f"split/{seed}/{canonical}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "little") / 2**64
    validation, test = shares
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def check_no_leakage(table: TaskTable) -> None:
    """Refuse a table in which a canonical form stands in two splits.

    Raises:
        LeakageError: naming two such examples and their splits.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(table.canonical):
        other = first.setdefault(name, row)
        if table.split[other] != table.split[row]:
            raise LeakageError(
                f"task {table.name!r} leaks: example {table.example[row]} "
                f"({table.split[row]}) is the same as example {table.example[other]} "
                f"({table.split[other]}) up to the task's symmetries"
            )


def verify_answers(table: TaskTable, task: TaskConfig, base_dir: Path) -> None:
    """Put every answer through the task's exact verifier, where it has one.

    Raises:
        WrongAnswerError: naming the first example that fails.
    """
    verify = source_of(task, base_dir).verify
    if verify is None:
        return
    for row, posed in enumerate(table.posed):
        if not verify(posed, table.targets[row].tolist()):
            raise WrongAnswerError(
                f"task {table.name!r}: the answer of example {table.example[row]} does not pass "
                "the verifier"
            )
