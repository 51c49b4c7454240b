"""Several tests at once, and the test over examples alone."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.contingency_tables import mcnemar
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


def mcnemar_test(only_first: int, only_second: int) -> tuple[float, float]:
    """McNemar's chi-square (no continuity correction) and exact p of discordant examples.

    It sees examples only: where seeds differ it is overconfident, so no verdict rests on it.

    Args:
        only_first: examples that the first model alone answers correctly.
        only_second: examples that the second model alone answers correctly.
    """
    table = [[0, only_first], [only_second, 0]]
    chi2 = mcnemar(table, exact=False, correction=False).statistic
    return float(chi2), float(mcnemar(table, exact=True).pvalue)
