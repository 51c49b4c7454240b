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

CHUNK = 256
ANSWERS = ("No", "Yes")
_STATEMENT = re.compile(r"(All|No|Some) (\w+) are (not )?(\w+)")


def normalised(text: str) -> str:
    """Lower case with single blanks: what a repeated prompt has in common."""
    return " ".join(text.lower().split())


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


def table_source(task: TableTask, base_dir: Path) -> Source:
    """The user's own CSV or Parquet: every row with its text and its label.

    Raises:
        ConfigError: for a missing or unreadable file, a missing column, an empty cell, or a single
            label; one sentence with the key, the value and what is allowed.
    """
    frame = _read(base_dir / task.path, task.path)
    for key in ("text_column", "label_column"):
        name = getattr(task, key)
        if name not in frame:
            raise ConfigError(
                f"{key} = {name!r} is refused: {task.path} has the columns "
                f"{', '.join(map(str, frame.columns))}."
            )
        empty = frame[name].isna() | (frame[name].astype(str).str.strip() == "")
        if empty.any():
            raise ConfigError(
                f"{key} = {name!r} is refused: {int(empty.sum())} rows of {task.path} are empty "
                f"there, the first is row {int(np.argmax(empty)) + 1}."
            )
    texts = frame[task.text_column].astype(str).tolist()
    given = frame[task.label_column].astype(str).str.strip().tolist()
    classes = tuple(sorted(set(given)))
    if len(classes) < 2:
        raise ConfigError(
            f"label_column = {task.label_column!r} is refused: {task.path} has the labels "
            f"{list(classes)} there, and at least two are needed."
        )
    labels = {name: index for index, name in enumerate(classes)}

    def examples() -> Iterator[Example]:
        for text, label in zip(texts, given, strict=True):
            yield Example(text, normalised(text), (labels[label],), (True,))

    return Source(examples, classes, None, None)


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])


def _read(path: Path, name: str) -> pd.DataFrame:
    readers: dict[str, Callable[[Any], pd.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": pd.read_parquet,
    }
    if path.suffix not in readers:
        raise ConfigError(f"path = {name!r} is refused: expected a .csv or .parquet file.")
    if not path.is_file():
        raise ConfigError(f"path = {name!r} is refused: there is no such file.")
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"path = {name!r} is refused: it cannot be read ({reason}).") from error
