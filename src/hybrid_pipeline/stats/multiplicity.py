"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p values: the k-th smallest of m times m - k + 1, never falling, 1 at most.

    A test that could not be made (``None``) keeps its place in the family as a non-rejection: a
    hole in the study never makes the remaining tests easier.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979. Written out because statsmodels collects garbage in every call, which
    takes a process with torch in memory up to a second.
    """
    p = np.array([1.0 if value is None else value for value in p_values])
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    pairs = zip(p_values, adjusted, strict=True)
    return [None if value is None else float(a) for value, a in pairs]
