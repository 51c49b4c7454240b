"""The tidy score table: read, check with one sentence, arrange as [seed, example] matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hybrid_pipeline.stats.results import MEAN_TASK, MissingCell
from hybrid_pipeline.table_files import ColumnError, TableFileError, read_rows

REQUIRED = ("arm", "seed", "task", "example", "correct")
SLOTS = ("slots_correct", "slots_total")
STEPS = "supervision_steps"
METRICS = ("correct", "slots")
_LARGEST_SEED = 2**53  # beyond, not every whole number is a float
LENGTH = "length"
UPDATES = "updates"
ROW = "row"  # the index of a table that was read: what a person calls each row
_CELL = ["arm", "seed", "task"]


class ScoreTableError(ValueError):
    """A score table was refused; the message is one sentence that names the rows."""


def read_scores(path: Path) -> pd.DataFrame:
    """Read a score table from CSV, TSV or Parquet, or a folder of Parquet parts.

    Names of arms and tasks are text exactly as written (``None`` and ``1.10`` too), and so are ids
    of examples unless all are whole numbers. The index, ``row``, has the rows as a person calls
    them, such as ``row 7``: the line of a CSV file, the row of a Parquet file from 1.

    Raises:
        ScoreTableError: if the file is missing, of another kind or damaged, or lacks a column.
    """
    others = (*SLOTS, STEPS, UPDATES, LENGTH)
    try:
        rows = read_rows(path, [*REQUIRED, *others], optional=others)
    except ColumnError as error:
        raise ScoreTableError(f"{path}, column {error.column!r}: {error}.") from error
    except TableFileError as error:
        raise ScoreTableError(f"{path} is not a readable table: {error}.") from error
    labels = pd.Index([rows.label(row) for row in range(len(rows.lines))], name=ROW, dtype=object)
    frame = pd.DataFrame(rows.columns, index=labels, dtype=object)
    for name in frame.columns:
        if name == "example":
            frame[name] = _whole_numbers(frame[name])
        elif name not in ("arm", "task"):
            frame[name] = _numbers_if_all_are(frame[name])
    return frame


def _whole_numbers(ids: pd.Series) -> pd.Series:
    """Ids as integers if each is written as one, without a sign or leading zeros; else as text."""
    written = ids.notna() & ids.astype(str).str.fullmatch("0|[1-9][0-9]{0,17}")
    return ids.astype(np.int64) if len(ids) and written.all() else ids


def _numbers_if_all_are(column: pd.Series) -> pd.Series:
    """Numbers, true and false as 1 and 0; the text if any value is something else."""
    truths = {"true": "1", "false": "0"}
    plain = column.map(lambda value: truths.get(str(value).lower(), value))
    numbers = pd.to_numeric(plain, errors="coerce")
    return column if (numbers.isna() & column.notna()).any() else numbers


def check_scores(scores: pd.DataFrame, *, metrics: Iterable[str] = ("correct",)) -> pd.DataFrame:
    """Refuse a table from which no paired analysis can be made.

    Args:
        scores: a row per (arm, seed, task, example) with ``correct`` 0 or 1, and ``slots_correct``
            and ``slots_total`` where ``slots`` is among the metrics.
        metrics: the metrics that will be read.

    Returns:
        The table with a new index, arms and tasks as text, seeds as integers, scores as numbers,
        and a length, which is 1 if the table has none.

    Raises:
        ScoreTableError: one sentence that names the rows as :func:`read_scores` does; those of
            another table are counted from 1.
    """
    _check_columns(scores, metrics)
    if scores.empty:
        raise ScoreTableError("the score table has no rows.")
    if scores.index.name != ROW:
        scores = scores.set_index(pd.Index([f"row {n + 1}" for n in range(len(scores))], name=ROW))
    _refuse(scores[list(REQUIRED)].isna().any(axis=1), "no value in a required column")
    scores = scores.assign(
        arm=scores["arm"].astype(str),
        task=scores["task"].astype(str),
        seed=_whole_seeds(scores["seed"]),
        correct=pd.to_numeric(scores["correct"], errors="coerce"),
        **_numbers(scores),
        length=_lengths(scores),
    )
    _refuse(~scores["correct"].isin([0, 1]), "correct is neither 0 nor 1")
    _refuse(scores["task"] == MEAN_TASK, f"a task cannot be called {MEAN_TASK!r}, the name of "
            "figures averaged over tasks")  # fmt: skip
    duplicated = scores.duplicated([*_CELL, LENGTH, "example"], keep="first")
    _refuse(duplicated, "repeats the (arm, seed, task, example, length) of an earlier row")
    if set(SLOTS) <= set(scores.columns):
        _check_slots(scores)
    alone = scores.groupby([LENGTH, "task"], sort=False)["example"].transform("nunique") < 2
    _refuse(alone, "the only example of its task; an interval needs 2 or more")
    _check_pairing(scores)
    return scores.reset_index(drop=True)


def _whole_seeds(seeds: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(seeds, errors="coerce").astype(float)
    _refuse(~(numbers.abs() < _LARGEST_SEED) | (numbers % 1 != 0), "the seed is no whole number")
    return numbers.astype(int)


def _lengths(scores: pd.DataFrame) -> pd.Series:
    if LENGTH not in scores.columns:
        return pd.Series(1.0, index=scores.index)
    lengths = pd.to_numeric(scores[LENGTH], errors="coerce").astype(float)
    _refuse(~(lengths > 0) | np.isinf(lengths), "the length is no positive number")
    return lengths


def at_length(scores: pd.DataFrame, length: float) -> pd.DataFrame:
    """The rows of one training length of a checked table."""
    return scores[scores[LENGTH] == length].reset_index(drop=True)


def _numbers(scores: pd.DataFrame) -> dict[str, pd.Series]:
    """The optional columns as numbers; an empty value stays empty."""
    numbers = {}
    for name in (*SLOTS, STEPS, UPDATES):
        if name in scores.columns:
            column = pd.to_numeric(scores[name], errors="coerce").astype(float)
            strange = column.isna() & scores[name].notna() | np.isinf(column)
            _refuse(strange, f"{name} is not a finite number")
            numbers[name] = column
    return numbers


def _check_columns(scores: pd.DataFrame, metrics: Iterable[str]) -> None:
    wanted = [*REQUIRED, *(SLOTS if "slots" in set(metrics) else ())]
    absent = [name for name in wanted if name not in scores.columns]
    if absent:
        raise ScoreTableError(
            f"the score table lacks the column {', '.join(absent)}; "
            f"it has {', '.join(map(str, scores.columns))}."
        )


def _check_slots(scores: pd.DataFrame) -> None:
    right, total = scores["slots_correct"], scores["slots_total"]
    _refuse(~(total >= 1), "slots_total is below 1")
    _refuse(~(right >= 0), "slots_correct is negative or empty")
    _refuse(right > total, "slots_correct is above slots_total")


def _refuse(bad: pd.Series, what: str) -> None:
    rows = bad.index[bad.to_numpy()]
    if rows.size:
        raise ScoreTableError(f"{_name_rows(rows)}: {what}.")


def _name_rows(rows: pd.Index) -> str:
    """Such as ``rows 7, 9 and 12``; at most five are named, with how many more."""
    shown = [str(row) for row in rows[:5]]
    more = f"{rows.size - 5} more" if rows.size > 5 else ""
    if not any(" of " in row for row in shown):  # of one file
        shown = [row.removeprefix("row ") for row in shown]
        shown[0] = f"{'row' if rows.size == 1 else 'rows'} {shown[0]}"
    return f"{', '.join(shown)} and {more}" if more else _and(shown)


def _and(shown: Sequence[str]) -> str:
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


def _check_pairing(scores: pd.DataFrame) -> None:
    for task, group in scores.groupby("task", sort=False):
        cells = _cells(group)
        held = group.groupby("example")["correct"].transform("size")
        rows = held.index[held < len(cells)]
        if rows.size:
            example = group["example"].tolist()[int(np.argmax(held < len(cells)))]
            lacking = [c for c in cells if c not in _cells(group[group["example"] == example])]
            arm, seed, _ = lacking[0]
            raise ScoreTableError(
                f"{_name_rows(rows)} of task {task!r} are unpaired: every arm and seed must have "
                f"the same examples, but arm {arm!r}, seed {seed} lacks example {example!r}."
            )


def _cells(rows: pd.DataFrame) -> list[tuple[str, int, float]]:
    """The (arm, seed, length) of some rows, in order of appearance."""
    columns = (rows[name].tolist() for name in ("arm", "seed", LENGTH))
    return list(dict.fromkeys(zip(*columns, strict=True)))


def check_complete(scores: pd.DataFrame) -> None:
    """Refuse a table with missing cells or a single seed.

    Raises:
        ScoreTableError: naming the cells, or the rows of the only seed.
    """
    seeds = scores["seed"].unique()
    if len(seeds) < 2:
        raise ScoreTableError(
            f"the {len(scores):,} rows are all of seed {seeds[0]}: one seed says nothing about how "
            "far seeds differ, give at least 3."
        )
    missing = find_missing(scores, list(scores["arm"].unique()), (), {})
    if missing:
        shown = ", ".join(f"({c.arm}, seed {c.seed}, {c.task})" for c in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ScoreTableError(
            f"no row holds the {'cell' if len(missing) == 1 else 'cells'} {shown}{more}; "
            "with --allow-missing they are listed and complete pairs analysed."
        )


def find_missing(
    scores: pd.DataFrame,
    arms: Iterable[str],
    seeds: Iterable[int],
    diverged: Mapping[str, Sequence[int]],
) -> tuple[MissingCell, ...]:
    """The cells (arm x seed) that lack a task's scores.

    Args:
        scores: the checked table.
        arms: the arms of the study.
        seeds: the seeds of the study, besides those found in the table.
        diverged: for an arm, the seeds whose training diverged.
    """
    found = {(str(a), int(s), str(t)) for a, s, t in scores[_CELL].drop_duplicates().to_numpy()}
    every_seed = sorted({int(s) for s in scores["seed"]} | set(seeds))
    return tuple(
        MissingCell(
            arm=arm,
            seed=seed,
            task=task,
            reason="diverged" if seed in diverged.get(arm, ()) else "no scores",
        )
        for arm in arms
        for seed in every_seed
        for task in map(str, scores["task"].unique())
        if (arm, seed, task) not in found
    )


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores in [0, 1] with their axes: arm, task -> float64 [seed, example].

    Attributes:
        arms: in the order of first appearance.
        tasks: in the order of first appearance.
        seeds: sorted; the first axis of every array.
        values: (arm, task) -> [seed, example], a row of NaN if the cell is missing.
        steps: (arm, task) -> mean supervision steps, if the table has them.
    """

    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Mapping[tuple[str, str], np.ndarray]
    steps: Mapping[tuple[str, str], float]

    @classmethod
    def from_table(cls, scores: pd.DataFrame, metrics: Mapping[str, str]) -> ScoreMatrix:
        """Arrange a checked table.

        Args:
            scores: a table that ``check_scores`` accepts.
            metrics: task -> ``correct`` or ``slots``; ``correct`` if a task is not named.

        Raises:
            ScoreTableError: for an unknown metric.
        """
        arms = tuple(map(str, scores["arm"].unique()))
        tasks = tuple(map(str, scores["task"].unique()))
        seeds = tuple(sorted(int(s) for s in scores["seed"].unique()))
        values, steps = {}, {}
        for task in tasks:
            rows = scores[scores["task"] == task]
            rows = rows.assign(_score=_score(rows, metrics.get(task, "correct")))
            for arm, cell in rows.groupby("arm", sort=False):
                wide = cell.pivot(index="seed", columns="example", values="_score")
                values[str(arm), task] = wide.reindex(seeds).to_numpy(dtype=np.float64)
                if STEPS in cell and cell[STEPS].notna().any():
                    steps[str(arm), task] = float(cell[STEPS].mean())
        return cls(arms, tasks, seeds, values, steps)

    def present(self, arms: Iterable[str], tasks: Iterable[str]) -> np.ndarray:
        """Bool [seed]: the seeds that have a cell in all these arms and tasks."""
        mask = np.ones(len(self.seeds), dtype=bool)
        for arm in arms:
            for task in tasks:
                cell = self.values.get((arm, task))
                mask &= False if cell is None else ~np.isnan(cell).any(axis=1)
        return mask


def _score(rows: pd.DataFrame, metric: str) -> pd.Series:
    if metric == "correct":
        return rows["correct"].astype(float)
    if metric == "slots":
        return rows["slots_correct"].astype(float) / rows["slots_total"].astype(float)
    raise ScoreTableError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}.")
