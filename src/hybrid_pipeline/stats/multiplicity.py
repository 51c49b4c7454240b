"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p values (Holm 1979).

    A test that could not be made (``None``) keeps its place in the family as a non-rejection: a
    hole in the study never makes the remaining tests easier.
    """
    if not p_values:
        return []
    adjusted = multipletests([1.0 if p is None else p for p in p_values], method="holm")[1]
    return [None if p is None else float(a) for p, a in zip(p_values, adjusted, strict=True)]
