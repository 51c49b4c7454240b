"""From a source to a table: splits by the prompt up to symmetry, then two checks."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_pipeline.config import TaskConfig
from hybrid_pipeline.storage import (
    code_fingerprint,
    content_key,
    library_versions,
    package_fingerprint,
)
from hybrid_pipeline.tasks.registry import source_of
from hybrid_pipeline.tasks.source import Example, TaskSource
from hybrid_pipeline.tasks.table import SPLITS, Split, TaskTable

MAX_STALE_DRAWS = 20_000


class LeakageError(ValueError):
    """Two splits share an example, or one that is the same up to the task's symmetries."""


class WrongAnswerError(ValueError):
    """A generated answer does not pass the task's verifier."""


def table_key(name: str, task: TaskConfig, base_dir: Path) -> str:
    """Key of a table: its configuration (or file), the generators and this code."""
    source = source_of(name, task, base_dir)
    versions = library_versions(*source.libraries)
    return content_key(name, source.key_parameters(), versions, _code(), *_own_code(source))


def _code() -> str:
    return code_fingerprint("tasks", "seeding.py", "table_files.py", "visible_text.py")


def _own_code(source: TaskSource[Any]) -> list[str]:
    """Fingerprints of the packages of the user's that make the source."""
    modules = (kind.__module__ for kind in type(source).__mro__)
    packages = {name.partition(".")[0] for name in modules}
    ours = {__name__.partition(".")[0], *sys.stdlib_module_names}
    return [package_fingerprint(name) for name in sorted(packages - ours)]


def build_table(name: str, task: TaskConfig, base_dir: Path) -> TaskTable:
    """Draw examples until every split is full.

    An example's split depends only on its canonical form, so examples that are the same
    up to symmetry are always in one split. Exact repeats are left out, of a user's file also
    those that differ in case, blanks or what cannot be seen. Validation and test
    take one example of each form while the training split fills; only if there are too few forms
    then do they take symmetric twins, in the order drawn.

    Raises:
        ValueError: when the source cannot fill the splits.
        ConfigError: for an unusable file.
    """
    source = source_of(name, task, base_dir)
    filling = _Filling(source.wanted)
    for index, (example, form) in enumerate(_named(source)):
        filling.add(index, example, form, split_of(form, source.shares, task.data_seed))
        if filling.is_full or index - filling.last_kept > MAX_STALE_DRAWS:
            break
    chosen = filling.result(name)
    prompts = [example.prompt for _, _, example, _ in chosen]
    targets = np.array([example.answer for _, _, example, _ in chosen], dtype=np.int64)
    table = TaskTable(
        name=name,
        key=table_key(name, task, base_dir),
        primary_metric=task.primary_metric,
        classes=source.classes,
        grid_shape=source.grid_shape,
        example=np.array([index for _, index, _, _ in chosen], dtype=np.int64),
        split=np.array([split for split, _, _, _ in chosen]),
        prompt=prompts,
        canonical=[form for _, _, _, form in chosen],
        targets=targets,
        scored=np.array([example.scored for _, _, example, _ in chosen], dtype=bool),
        parameters=task.model_dump(mode="json"),
        examples_read=filling.read,
        repeats_dropped=filling.repeats,
        remarks=tuple(source.remarks(prompts, targets)),
    )
    return replace(table, remarks=(*table.remarks, *table.class_remarks()))


def num_train(name: str, task: TaskConfig, base_dir: Path) -> int:
    """Training examples of a task; those of a file are counted in it.

    Raises:
        ValueError: when the file is unusable.
    """
    wanted = source_of(name, task, base_dir).wanted
    if wanted is not None:
        return int(wanted["train"])
    return len(build_table(name, task, base_dir).rows("train"))


def _named(source: TaskSource[Any]) -> Iterator[tuple[Example, str]]:
    """Examples and their canonical forms, found chunk by chunk."""
    stream = source.examples()
    while chunk := list(islice(stream, source.chunk)):
        yield from zip(chunk, source.canonical([e.prompt for e in chunk]), strict=True)


Kept = tuple[int, Example, str]


class _Filling:
    """Splits while they fill; ``wanted`` None takes whatever comes.

    ``last_kept`` is the draw that last added something.
    """

    def __init__(self, wanted: Mapping[Split, int] | None) -> None:
        self.wanted = wanted
        self.kept: dict[Split, list[Kept]] = {split: [] for split in SPLITS}
        self.twins: dict[Split, list[Kept]] = {split: [] for split in SPLITS}
        self.seen: set[str] = set()
        self.forms: set[str] = set()
        self.last_kept = self.read = self.repeats = 0

    def add(self, index: int, example: Example, form: str, split: Split) -> None:
        """Keep an example, or set it aside as the twin of one that a held-out split has."""
        self.read += 1
        repeated = form if self.wanted is None else example.prompt
        if repeated in self.seen:
            self.repeats += 1
            return
        self.seen.add(repeated)
        is_twin = form in self.forms
        self.forms.add(form)
        pool = self.kept[split]
        if self.wanted is not None and split != "train" and is_twin:
            pool = self.twins[split]
        if self.wanted is None or len(pool) < self.wanted[split]:
            pool.append((index, example, form))
            self.last_kept = index

    @property
    def is_full(self) -> bool:
        """Whether no more examples need to be drawn."""
        if self.wanted is None:
            return False
        found = {s: len(self.kept[s]) + len(self.twins[s]) for s in SPLITS}
        return all(found[split] >= self.wanted[split] for split in SPLITS)

    def result(self, name: str) -> list[tuple[Split, int, Example, str]]:
        """The chosen examples, train, validation, test, each in the order drawn."""
        chosen: dict[Split, list[Kept]] = {}
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


def split_of(canonical: str, shares: tuple[float, float], seed: int) -> Split:
    """The split of a canonical form: a hash, so it needs no knowledge of other examples."""
    digest = hashlib.blake2b(f"split/{seed}/{canonical}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "little") / 2**64
    validation, test = shares
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def check_no_leakage(table: TaskTable, source: TaskSource[Any]) -> None:
    """Refuse a table in which two splits share an example up to the task's symmetries.

    The recorded canonical forms are compared, and forms computed anew from the prompts: a wrong
    record does not hide a twin.

    Raises:
        LeakageError: naming two such examples and their splits.
    """
    for names in (table.canonical, source.canonical(table.prompt)):
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            other = first.setdefault(name, row)
            if table.split[other] != table.split[row]:
                raise LeakageError(
                    f"task {table.name!r} leaks: {source.label(int(table.example[row]))} "
                    f"({table.split[row]}) is the same as "
                    f"{source.label(int(table.example[other]))} ({table.split[other]}) up to the "
                    "task's symmetries"
                )


def verify_answers(table: TaskTable, source: TaskSource[Any]) -> None:
    """Put every answer through the task's exact verifier.

    Raises:
        WrongAnswerError: naming the first example that fails and how many do.
    """
    wrong = [
        row
        for row, prompt in enumerate(table.prompt)
        if not source.verify(prompt, table.targets[row].tolist())
    ]
    if wrong:
        more = f" (and those of {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        raise WrongAnswerError(
            f"task {table.name!r}: the answer of {source.label(int(table.example[wrong[0]]))}"
            f"{more} does not pass the verifier"
        )
