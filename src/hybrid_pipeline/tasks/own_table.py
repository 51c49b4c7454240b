"""The user's own table: every row with its text and its label, as written."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from hybrid_pipeline.config import ConfigError, PathText, TaskConfig
from hybrid_pipeline.storage import file_key
from hybrid_pipeline.table_files import (
    ColumnError,
    Rows,
    TableFileError,
    files_of,
    read_rows,
)
from hybrid_pipeline.tasks.registry import register_source
from hybrid_pipeline.tasks.source import Example, TextSource
from hybrid_pipeline.visible_text import normalised, visible

MAX_SHOWN = 5


class TableTask(TaskConfig):
    """The user's own CSV or Parquet: one text column, one label column."""

    source: Literal["table"]
    path: PathText = Field(
        description=".csv, .tsv (also .gz), .parquet or a folder of them, from the project root"
    )
    text_column: str = Field(default="text", description="what is drawn")
    label_column: str = Field(default="label", description="what is to be answered")
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="of the rows")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="of the rows")

    @property
    def files(self) -> dict[str, str]:
        """The table."""
        return {"path": self.path}


@register_source(TableTask)
class OwnTable(TextSource[TableTask]):
    """Rows of a file; what cannot be used is refused in one sentence that names a row."""

    splits_notes = (
        "Of a table of one's own no row is in two splits, nor one that is the same text up to case"
        " and blanks.",
    )
    wanted = None

    @property
    def shares(self) -> tuple[float, float]:
        """Those of the parameters."""
        return self.task.validation_share, self.task.test_share

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted(set(self._labels)))

    def examples(self) -> Iterator[Example]:
        """All rows in order."""
        index = {label: number for number, label in enumerate(self.classes)}
        for text, label in zip(self._texts, self._labels, strict=True):
            yield Example(text, (index[label],), (True,))

    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """The text up to case, blanks and what cannot be seen."""
        return [normalised(text) for text in prompts]

    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """True: only the label tells."""
        del prompt, answer
        return True

    def label(self, example: int) -> str:
        """The row of the file."""
        return self._rows.label(example)

    def key_parameters(self) -> dict[str, Any]:
        """The parameters, with the content of the file (or files) in place of its path."""
        parameters = super().key_parameters()
        path = self.base_dir / self.task.path
        if path.is_dir():
            parts = {str(part.relative_to(path)): file_key(part) for part in files_of(path)}
            return parameters | {"path": parts}
        return parameters | ({"path": file_key(path)} if path.is_file() else {})

    def remarks(self, prompts: Sequence[str], targets: NDArray[Any]) -> list[str]:
        """Labels that may be meant as one."""
        del prompts, targets
        return [
            f"{self._file} has the labels {', '.join(map(repr, alike))}, which are the same up to "
            "case, form or spelling of a number, and are kept as classes of their own; write them "
            "alike if one is meant"
            for alike in labels_alike(self.classes)
        ]

    @property
    def _file(self) -> str:
        return self.task.path

    @cached_property
    def _rows(self) -> Rows:
        task = self.task
        names = [task.text_column, task.label_column]
        try:
            return read_rows(self.base_dir / task.path, list(dict.fromkeys(names)))
        except ColumnError as error:
            key = "text_column" if error.column == task.text_column else "label_column"
            reason = str(error).replace("the file has", f"{self._file} has")
            raise self._refused(key, reason) from error
        except TableFileError as error:
            raise self._refused("path", str(error)) from error

    @cached_property
    def _texts(self) -> list[str]:
        return self._filled("text_column")

    @cached_property
    def _labels(self) -> list[str]:
        """The labels as they can be told apart by eye; checked together with the texts."""
        texts = self._texts
        labels = [label_seen(label) for label in self._filled("label_column")]
        counts = Counter(labels)
        if len(counts) < 2:
            found = ", ".join(map(repr, counts)) or "no rows"
            raise self._refused(
                "label_column",
                f"{self._file} has {'the label ' if counts else ''}{found} there, and at least "
                "two labels are needed",
            )
        single = sum(count == 1 for count in counts.values())
        if single > len(labels) / 2:
            raise self._refused(
                "label_column",
                f"{single:,} of the {len(labels):,} rows of {self._file} have a label there that "
                "no other row has, so nothing can be learnt about it (is it a column of ids?); "
                "name a column whose labels recur",
            )
        self._check_one_label_each(texts, labels)
        return labels

    def _filled(self, key: str) -> list[str]:
        """A column without empty fields."""
        values = self._rows.columns[getattr(self.task, key)]
        empty = [row for row, value in enumerate(values) if value is None or not normalised(value)]
        if empty:
            raise self._refused(
                key, f"{self._file} has nothing to be seen there in {self._naming(empty)}"
            )
        return [str(value) for value in values]

    def _check_one_label_each(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        first: dict[str, int] = {}
        differing: dict[str, tuple[int, int]] = {}
        for row, form in enumerate(self.canonical(texts)):
            other = first.setdefault(form, row)
            if labels[row] != labels[other]:
                differing.setdefault(form, (other, row))
        if not differing:
            return
        one, two = next(iter(differing.values()))
        more = f" ({len(differing) - 1:,} more texts are so)" if len(differing) > 1 else ""
        raise self._refused(
            "label_column",
            f"{self._file} has the text {texts[one][:60]!r} with the label {labels[one]!r} "
            f"in {self.label(one)} and with {labels[two]!r} in {self.label(two)}, where it is the "
            f"same up to case, blanks and what cannot be seen{more}; a text needs one label",
        )

    def _naming(self, rows: Sequence[int]) -> str:
        shown = ", ".join(self.label(row) for row in rows[:MAX_SHOWN])
        more = f" and {len(rows) - MAX_SHOWN:,} more" if len(rows) > MAX_SHOWN else ""
        return f"{len(rows):,} row{'s' if len(rows) > 1 else ''}: {shown}{more}"

    def _refused(self, key: str, reason: str) -> ConfigError:
        value = getattr(self.task, key)
        return ConfigError(f"parameter 'tasks.{self.name}.{key}' = {value!r} is refused: {reason}.")


def label_seen(label: str) -> str:
    """A label as it can be told apart by eye: composed, single blanks, nothing unseen."""
    return " ".join(visible(label, "NFC").split())


def labels_alike(labels: Sequence[str]) -> list[list[str]]:
    """Groups of labels that are the same up to case and compatible forms, or as a number."""
    groups: defaultdict[object, list[str]] = defaultdict(list)
    for label in labels:
        number = _number(label)
        groups[normalised(label) if number is None else number].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _number(label: str) -> float | None:
    try:
        value = float(unicodedata.normalize("NFKC", label))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
