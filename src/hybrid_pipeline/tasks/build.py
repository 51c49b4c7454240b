"""From a source to a table: splits by what is posed up to symmetry, then two checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
from hybrid_pipeline.tasks.maze import canonical_maze, maze_source, read_maze
from hybrid_pipeline.tasks.planning import planning_source
from hybrid_pipeline.tasks.sudoku import canonical_sudokus, sudoku_source
from hybrid_pipeline.tasks.table import SPLITS, Split, TaskTable
from hybrid_pipeline.tasks.text import normalised, syllogism_source, table_source

MAX_STALE_DRAWS = 20_000


class LeakageError(ValueError):
    """Two splits share an example, or one that is the same up to the task's symmetries."""


class WrongAnswerError(ValueError):
    """A generated answer does not pass the task's verifier."""


def source_of(name: str, task: TaskConfig, base_dir: Path) -> Source:
    """The source that a task's configuration names."""
    if isinstance(task, MazeTask):
        return maze_source(task)
    if isinstance(task, PlanningTask):
        return planning_source(task)
    if isinstance(task, TableTask):
        return table_source(name, task, base_dir)
    return sudoku_source(task) if "sudoku" in task.generator else syllogism_source(task)


def table_key(name: str, task: TaskConfig, base_dir: Path) -> str:
    """Key of a table: its configuration (or file), the generators and this code."""
    parameters = task.model_dump(mode="json")
    if isinstance(task, TableTask) and (base_dir / task.path).is_file():
        parameters["path"] = file_key(base_dir / task.path)
    versions = library_versions("reasoning-gym") if isinstance(task, ReasoningGymTask) else {}
    return content_key(name, parameters, versions, _code())


def _code() -> str:
    return code_fingerprint("tasks", "seeding.py", "visible_text.py")


def build_table(name: str, task: TaskConfig, base_dir: Path) -> TaskTable:
    """Draw examples until every split is full.

    An example's split is a function of its canonical form alone, so examples that are the same as
    posed up to symmetry are always in one split. Exact repeats are left out, of a user's file also
    those that differ in case, blanks or what cannot be seen. Validation and test
    take one example of each form while the training split fills; only if there are too few forms
    then do they take symmetric twins, in the order drawn.

    Raises:
        ValueError: when the source cannot fill the splits.
        ConfigError: for an unusable file.
    """
    source = source_of(name, task, base_dir)
    shares, wanted = _shares(task, source)
    filling = _Filling(wanted)
    for index, example in enumerate(source.examples()):
        filling.add(index, example, split_of(example.canonical, shares, task.data_seed))
        if filling.is_full or index - filling.last_kept > MAX_STALE_DRAWS:
            break
    chosen = filling.result(name)
    examples = [example for _, _, example in chosen]
    return TaskTable(
        name=name,
        key=table_key(name, task, base_dir),
        primary_metric=task.primary_metric,
        classes=source.classes,
        grid_shape=source.grid_shape,
        example=np.array([index for _, index, _ in chosen], dtype=np.int64),
        split=np.array([split for split, _, _ in chosen]),
        posed=[e.posed for e in examples],
        canonical=[e.canonical for e in examples],
        targets=np.array([e.answer for e in examples], dtype=np.int64),
        scored=np.array([e.scored for e in examples], dtype=bool),
    )


class _Filling:
    """Splits while they fill; ``wanted`` None takes whatever comes.

    ``last_kept`` is the draw that last added something.
    """

    def __init__(self, wanted: dict[Split, int] | None) -> None:
        self.wanted = wanted
        self.kept: dict[Split, list[tuple[int, Example]]] = {split: [] for split in SPLITS}
        self.twins: dict[Split, list[tuple[int, Example]]] = {split: [] for split in SPLITS}
        self.seen: set[str] = set()
        self.forms: set[str] = set()
        self.last_kept = 0

    def add(self, index: int, example: Example, split: Split) -> None:
        """Keep an example, or set it aside as the twin of one that a held-out split has."""
        repeated = example.canonical if self.wanted is None else example.posed
        if repeated in self.seen:
            return
        self.seen.add(repeated)
        is_twin = example.canonical in self.forms
        self.forms.add(example.canonical)
        pool = self.kept[split]
        if self.wanted is not None and split != "train" and is_twin:
            pool = self.twins[split]
        if self.wanted is None or len(pool) < self.wanted[split]:
            pool.append((index, example))
            self.last_kept = index

    @property
    def is_full(self) -> bool:
        """Whether no more examples need to be drawn."""
        if self.wanted is None:
            return False
        found = {s: len(self.kept[s]) + len(self.twins[s]) for s in SPLITS}
        return all(found[split] >= self.wanted[split] for split in SPLITS)

    def result(self, name: str) -> list[tuple[Split, int, Example]]:
        """The chosen examples, train, validation, test, each in the order drawn."""
        chosen: dict[Split, list[tuple[int, Example]]] = {}
        for split in SPLITS:
            limit = None if self.wanted is None else self.wanted[split]
            pool = (self.kept[split] + self.twins[split])[:limit]
            chosen[split] = sorted(pool, key=lambda item: item[0])
        counts = {split: len(chosen[split]) for split in SPLITS}
        if min(counts.values()) == 0 or (self.wanted is not None and counts != self.wanted):
            raise ValueError(self._too_few(name, counts))
        return [(split, *item) for split in SPLITS for item in chosen[split]]

    def _too_few(self, name: str, counts: Mapping[Split, int]) -> str:
        found = ", ".join(f"{split} {count}" for split, count in counts.items())
        if self.wanted is None:
            return (
                f"task {name!r} cannot fill its splits: its file has {sum(counts.values())} texts "
                f"that differ, which fell to {found}; each split needs one, so give more rows or "
                "larger shares"
            )
        wanted = ", ".join(f"{split} {count}" for split, count in self.wanted.items())
        return (
            f"task {name!r} cannot fill its splits: wanted {wanted}, found {found} examples that "
            "differ; ask for fewer or make the task larger"
        )


def _shares(
    task: TaskConfig, source: Source
) -> tuple[tuple[float, float], dict[Split, int] | None]:
    """Shares of validation and test among canonical forms, and the counts to reach."""
    if isinstance(task, TableTask):
        return (task.validation_share, task.test_share), None
    wanted: dict[Split, int] = {
        "train": task.num_train,
        "validation": task.num_validation,
        "test": task.num_test,
    }
    total = sum(wanted.values())
    return source.held_out or (task.num_validation / total, task.num_test / total), wanted


def split_of(canonical: str, shares: tuple[float, float], seed: int) -> Split:
    """The split of a canonical form: a hash, so it needs no knowledge of other examples."""
    digest = hashlib.blake2b(f"split/{seed}/{canonical}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "little") / 2**64
    validation, test = shares
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def check_no_leakage(table: TaskTable) -> None:
    """Refuse a table in which two splits share an example up to the task's symmetries.

    The recorded canonical forms are compared, and forms computed anew from what is posed: a wrong
    record does not hide a twin.

    Raises:
        LeakageError: naming two such examples and their splits.
    """
    for names in (table.canonical, canonical_forms(table.posed)):
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            other = first.setdefault(name, row)
            if table.split[other] != table.split[row]:
                raise LeakageError(
                    f"task {table.name!r} leaks: example {table.example[row]} "
                    f"({table.split[row]}) is the same as example {table.example[other]} "
                    f"({table.split[other]}) up to the task's symmetries"
                )


def canonical_forms(posed: Sequence[str]) -> list[str]:
    """Canonical forms from what is posed alone: Sudoku, maze, or text as it is seen."""
    if all(text.startswith('{"sudoku":') for text in posed):
        return canonical_sudokus(np.array([json.loads(text)["sudoku"] for text in posed]))
    if all(text.startswith('{"maze":') for text in posed):
        return [canonical_maze(*read_maze(text)) for text in posed]
    return [normalised(text) for text in posed]


def verify_answers(table: TaskTable, task: TaskConfig, base_dir: Path) -> None:
    """Put every answer through the task's exact verifier, where it has one.

    Raises:
        WrongAnswerError: naming the first example that fails.
    """
    verify = source_of(table.name, task, base_dir).verify
    if verify is None:
        return
    for row, posed in enumerate(table.posed):
        if not verify(posed, table.targets[row].tolist()):
            raise WrongAnswerError(
                f"task {table.name!r}: the answer of example {table.example[row]} does not pass "
                "the verifier"
            )
