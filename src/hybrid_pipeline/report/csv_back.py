"""CSV files that the project wrote, read back with their names as they were written."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd


def read_written(path: Path) -> pd.DataFrame:
    """A CSV file that the project wrote, with its names as they were written.

    A column holds numbers only if each of them is written as Python prints it: ``1.10``, ``None``
    and ``NA`` stay text, and ``str`` of a number is what stood there. Empty cells are missing.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    return table.apply(_numbers_or_text)


def _numbers_or_text(column: pd.Series) -> pd.Series:
    filled = column[column != ""]
    for kind in (int, float):
        numbers = _as_printed(filled, kind)
        if numbers is not None:
            return pd.Series(numbers, filled.index, kind).reindex(column.index)
    return column.where(column != "", None)


def _as_printed(cells: pd.Series, kind: type[int] | type[float]) -> list[int] | list[float] | None:
    try:
        numbers = [kind(cell) for cell in cells]
    except ValueError:
        return None
    same = all(str(n) == cell and math.isfinite(n) for n, cell in zip(numbers, cells, strict=True))
    return numbers if same else None
