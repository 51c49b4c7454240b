"""Tasks posed as text with one answer: syllogisms and the user's own table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybrid_pipeline.config import ConfigError, ReasoningGymTask, TableTask
from hybrid_pipeline.tasks.example import Example, Source
from hybrid_pipeline.tasks.sudoku import generated
from hybrid_pipeline.visible_text import visible

CHUNK = 256
ANSWERS = ("No", "Yes")
_STATEMENT = re.compile(r"(All|No|Some) (\w+) are (not )?(\w+)")


def normalised(text: str) -> str:
    """Lower case with single blanks, of what can be seen: what a repeated prompt has in common."""
    return " ".join(visible(text).lower().split())


def syllogism_source(task: ReasoningGymTask) -> Source:
    """Two premises and a conclusion of reasoning_gym's ``syllogism``: does it follow?

    Entries whose answer is not that of the verifier are left out. reasoning_gym's rules
    do not ask that the middle term is distributed, so some of its "Yes" do not follow.
    """

    def examples() -> Iterator[Example]:
        for entries in generated(task, CHUNK):
            for entry in entries:
                parts = entry["metadata"]
                premises = f"{parts['premise1']}. {parts['premise2']}."
                posed = f"{premises}\n{parts['conclusion']}?"
                answer = ANSWERS.index(str(entry["answer"]))
                if verify_syllogism(posed, (answer,)):
                    yield Example(posed, canonical_syllogism(posed), (answer,), (True,))

    return Source(examples, ANSWERS, None, verify_syllogism)


def read_syllogism(posed: str) -> list[tuple[str, str, str]]:
    """Both premises and the conclusion as (quantifier, subject, predicate)."""
    found = [
        ("Some not" if negated else quantifier, subject, predicate)
        for quantifier, subject, negated, predicate in _STATEMENT.findall(posed)
    ]
    if len(found) != 3:
        raise ValueError(f"not two premises and a conclusion: {posed!r}")
    return found


def verify_syllogism(posed: str, answer: Sequence[int]) -> bool:
    """Whether the conclusion holds in every world in which the premises do, or not, as answered.

    A world says which of the 8 combinations of the three terms occur; every term has a member
    (Aristotle's reading).
    """
    statements = read_syllogism(posed)
    terms = sorted({term for _, *pair in statements for term in pair})
    first, second, conclusion = (
        _holds(q, terms.index(a), terms.index(b)) for q, a, b in statements
    )
    follows = bool((conclusion | ~(first & second & _members())).all())
    return follows == bool(answer[0])


@cache
def _worlds() -> NDArray[np.bool_]:
    """Which of the 8 kinds of individuals exist in each of the 256 worlds, bool [256, 8]."""
    return np.asarray((np.arange(256)[:, None] >> np.arange(8)) & 1, dtype=bool)


def _has(term: int) -> NDArray[np.bool_]:
    return np.asarray((np.arange(8) >> term) & 1, dtype=bool)


def _members() -> NDArray[np.bool_]:
    return np.asarray(np.all([(_worlds() & _has(t)).any(1) for t in range(3)], axis=0))


def _holds(quantifier: str, subject: int, predicate: int) -> NDArray[np.bool_]:
    """Truth of a statement in each world, bool [256]."""
    both = (_worlds() & _has(subject) & _has(predicate)).any(1)
    only = (_worlds() & _has(subject) & ~_has(predicate)).any(1)
    truths = {"All": ~only, "No": ~both, "Some": both, "Some not": only}
    return np.asarray(truths[quantifier])


def canonical_syllogism(posed: str) -> str:
    """The statements with their words normalised and the premises in alphabetical order."""
    first, second, conclusion = (" ".join(s).lower() for s in read_syllogism(posed))
    return " / ".join([*sorted([first, second]), conclusion])


def table_source(name: str, task: TableTask, base_dir: Path) -> Source:
    """The user's own CSV or Parquet: every row with its text and its label.

    Raises:
        ConfigError: for a missing or unreadable file, a missing column, an empty cell, a single
            label, or one text with two labels; one sentence with the key, the value and what is
            allowed.
    """
    frame = _read(name, task.path, base_dir)
    for key in ("text_column", "label_column"):
        _check_column(frame, f"{name}.{key}", getattr(task, key), task.path)
    texts = frame[task.text_column].astype(str).tolist()
    given = frame[task.label_column].astype(str).str.strip().tolist()
    classes = tuple(sorted(set(given)))
    if len(classes) < 2:
        raise _refused(
            f"{name}.label_column",
            task.label_column,
            f"{task.path} has the labels {list(classes)} there, and at least two are needed",
        )
    labels = {label: index for index, label in enumerate(classes)}
    forms = [normalised(text) for text in texts]
    _check_one_label_each(name, task, forms, texts, given)

    def examples() -> Iterator[Example]:
        for text, form, label in zip(texts, forms, given, strict=True):
            yield Example(text, form, (labels[label],), (True,))

    return Source(examples, classes, None, None)


def _refused(key: str, value: str, reason: str) -> ConfigError:
    return ConfigError(f"parameter 'tasks.{key}' = {value!r} is refused: {reason}.")


def _check_column(frame: pd.DataFrame, key: str, name: str, path: str) -> None:
    if name not in frame:
        columns = ", ".join(map(str, frame.columns))
        raise _refused(key, name, f"{path} has the columns {columns}")
    empty = frame[name].isna() | (frame[name].map(lambda value: normalised(str(value))) == "")
    if empty.any():
        reason = f"{int(empty.sum())} rows of {path} are empty there, the first is row "
        raise _refused(key, name, f"{reason}{int(np.argmax(empty)) + 1}")


def _check_one_label_each(
    name: str, task: TableTask, forms: Sequence[str], texts: Sequence[str], given: Sequence[str]
) -> None:
    first: dict[str, int] = {}
    for row, form in enumerate(forms):
        other = first.setdefault(form, row)
        if given[row] != given[other]:
            raise _refused(
                f"{name}.label_column",
                task.label_column,
                f"{task.path} has the text {texts[other][:60]!r} with the label {given[other]!r} "
                f"in row {other + 1} and with {given[row]!r} in row {row + 1}, where it is the "
                "same up to case, blanks and what cannot be seen; a text needs one label",
            )


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])


def _read(name: str, given: str, base_dir: Path) -> pd.DataFrame:
    path, key = base_dir / given, f"{name}.path"
    readers: dict[str, Callable[[Any], pd.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": pd.read_parquet,
    }
    if path.suffix not in readers:
        raise _refused(key, given, "expected a .csv or .parquet file")
    if not path.is_file():
        raise _refused(key, given, "there is no such file")
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _refused(key, given, f"it cannot be read ({reason})") from error
