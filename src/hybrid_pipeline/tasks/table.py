"""A task is a table: prompts, their answers, and which split an example is in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hybrid_pipeline.config import PrimaryMetric
from hybrid_pipeline.storage import DamagedError, check_noted, write_noted

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class TaskTable:
    """N examples with S answer slots over V classes, ordered train, validation, test.

    Attributes:
        name: of the task.
        key: content key of everything that made the table.
        primary_metric: preregistered; ``correct`` or ``slots``.
        classes: names of the V classes of a slot.
        grid_shape: (rows, columns) of the slots of a grid; None for text, which has one slot.
        example: unique ids, int64 [N]; they address the noise.
        split: name of the split of each example, [N].
        prompt: text, or a grid as JSON, as the renderer draws it, [N].
        canonical: the prompt up to the task's symmetries, [N].
        targets: class of each slot, int64 [N, S].
        scored: True where a slot is to be answered, bool [N, S].
        parameters: of the task, as JSON; with them its source is found again.
        examples_read: how many were drawn or read to fill the table; 0 if not counted.
        repeats_dropped: how many of them were repeats.
        remarks: whole sentences on where the table is not what was asked for.
    """

    name: str
    key: str
    primary_metric: PrimaryMetric
    classes: tuple[str, ...]
    grid_shape: tuple[int, int] | None
    example: NDArray[np.int64]
    split: NDArray[np.str_]
    prompt: list[str]
    canonical: list[str]
    targets: NDArray[np.int64]
    scored: NDArray[np.bool_]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    examples_read: int = 0
    repeats_dropped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["grid", "text"]:
        """Whether examples are drawn as grids or as text."""
        return "text" if self.grid_shape is None else "grid"

    @property
    def num_slots(self) -> int:
        """S."""
        return int(self.targets.shape[1])

    @property
    def num_classes(self) -> int:
        """V."""
        return len(self.classes)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, in order.

        Raises:
            ValueError: for an unknown split.
        """
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == split).astype(np.int64)

    def slots_by_class(self) -> dict[str, dict[str, int]]:
        """Of each split, how many scored slots have each class: split -> class -> count."""
        counts: dict[str, dict[str, int]] = {}
        for split in SPLITS:
            rows = self.rows(split)
            found = self.targets[rows][self.scored[rows]]
            numbers = np.bincount(found, minlength=self.num_classes)
            counts[split] = dict(zip(self.classes, map(int, numbers), strict=True))
        return counts

    def class_remarks(self) -> list[str]:
        """Whole sentences on classes that the training or the test split lacks."""
        said = []
        for split, consequence in (
            ("train", "they cannot be learnt"),
            ("test", "the scores say nothing about them"),
        ):
            lacking = [name for name, n in self.slots_by_class()[split].items() if n == 0]
            if lacking:
                shown = ", ".join(map(repr, lacking[:5]))
                more = f" and {len(lacking) - 5:,} more" if len(lacking) > 5 else ""
                said.append(
                    f"classes without {split} examples, so that {consequence}: {len(lacking):,} "
                    f"of {self.num_classes:,} ({shown}{more})"
                )
        return said

    def majority_baseline(self) -> dict[str, float]:
        """Scores on the test split of two answers that look at no image.

        ``slots``: every slot gets its position's most common class among the scored slots of the
        training split. ``correct``: the better of that and of the most common whole answer.
        """
        train, test = self.rows("train"), self.rows("test")
        counts = np.zeros((self.num_slots, self.num_classes), dtype=np.int64)
        for value in range(self.num_classes):
            hits = (self.targets[train] == value) & self.scored[train]
            counts[:, value] = hits.sum(0)
        answers, repeats = np.unique(self.targets[train], axis=0, return_counts=True)
        by_slot = self._score(counts.argmax(1), test)
        whole = self._score(answers[repeats.argmax()], test)
        return {"correct": max(by_slot["correct"], whole["correct"]), "slots": by_slot["slots"]}

    def chance_scores(self) -> dict[str, float]:
        """Expected scores on the test split of answering every slot uniformly at random."""
        slots = self.scored[self.rows("test")].sum(1)
        return {
            "correct": float(np.mean((1 / self.num_classes) ** slots)),
            "slots": 1 / self.num_classes,
        }

    def _score(self, answer: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, float]:
        scored = self.scored[rows]
        right = (answer == self.targets[rows]) & scored
        return {
            "correct": float((right.sum(1) == scored.sum(1)).mean()),
            "slots": float((right.sum(1) / scored.sum(1)).mean()),
        }

    def to_parquet(self, path: Path) -> None:
        """Write the table, whole or not at all, with a note of its checksum."""
        meta = {
            "name": self.name,
            "key": self.key,
            "primary_metric": self.primary_metric,
            "classes": list(self.classes),
            "grid_shape": self.grid_shape,
            "parameters": dict(self.parameters),
            "examples_read": self.examples_read,
            "repeats_dropped": self.repeats_dropped,
            "remarks": list(self.remarks),
        }
        table = pa.table(
            {
                "example": self.example,
                "split": self.split.tolist(),
                "prompt": self.prompt,
                "canonical": self.canonical,
                "targets": self.targets.tolist(),
                "scored": self.scored.tolist(),
            }
        ).replace_schema_metadata({"task": json.dumps(meta)})
        write_noted(path, lambda file: pq.write_table(table, file))

    @classmethod
    def from_parquet(cls, path: Path) -> TaskTable:
        """Read a table.

        Raises:
            DamagedError: when it is missing or differs from the checksum that was noted with it.
        """
        try:
            check_noted(path)
        except DamagedError as error:
            remedy = f"{error.why}: run the whole pipeline again, which makes it again"
            raise DamagedError(path, remedy) from error
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[b"task"])
        columns = table.to_pydict()
        grid = meta["grid_shape"]
        return cls(
            name=meta["name"],
            key=meta["key"],
            primary_metric=meta["primary_metric"],
            classes=tuple(meta["classes"]),
            grid_shape=None if grid is None else (int(grid[0]), int(grid[1])),
            example=np.array(columns["example"], dtype=np.int64),
            split=np.array(columns["split"]),
            prompt=columns["prompt"],
            canonical=columns["canonical"],
            targets=np.array(columns["targets"], dtype=np.int64),
            scored=np.array(columns["scored"], dtype=bool),
            parameters=meta["parameters"],
            examples_read=meta["examples_read"],
            repeats_dropped=meta["repeats_dropped"],
            remarks=tuple(meta["remarks"]),
        )
