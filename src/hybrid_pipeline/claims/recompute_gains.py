"""Recomputations of stated gains: sums, products, ranges, and ranges that contradict each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_pipeline.claims.recomputed import Recomputed, span

Ranges = Mapping[str, Sequence[float]]


def sum_of_gains(gains: Sequence[float]) -> Recomputed:
    """Gains added up, as if they were points."""
    return Recomputed((math.fsum(gains),))


def compound_factor(gains: Sequence[float]) -> Recomputed:
    """The product of 1 + gain."""
    return Recomputed((compound_gain(gains) + 1,))


def compound_of_gains(gains: Sequence[float]) -> Recomputed:
    """The product of 1 + gain, less 1."""
    return Recomputed((compound_gain(gains),))


def compound_gain(gains: Sequence[float]) -> float:
    """Relative gain of stages that multiply."""
    return math.prod(1 + gain for gain in gains) - 1


def compound_range(low: Sequence[float], high: Sequence[float]) -> Recomputed:
    """The corner products of a table: every low end, every high end."""
    return Recomputed((compound_gain(low), compound_gain(high)))


def independent_range(
    stated: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Recomputed:
    """The range of a product of independent stages: root-sum-square of the log half-widths."""
    log_low, log_high = np.log1p(low), np.log1p(high)
    centre = float((log_low + log_high).sum() / 2)
    half = float(np.sqrt((((log_high - log_low) / 2) ** 2).sum()))
    ends = (math.expm1(centre - half), math.expm1(centre + half))
    if ends[0] - stated[0] > 5e-3 and stated[1] - ends[1] > 5e-3:
        return Recomputed(
            ends,
            "Low times low and high times high are corner products; independent stages add their "
            "log half-widths as a root-sum-square.",
            "does_not_hold",
            f"does not hold, too wide if stages are independent: {span(ends)}",
        )
    return Recomputed(ends)


def compound_without(
    low: Mapping[str, float], high: Mapping[str, float], baseline: str
) -> Recomputed:
    """A table's total without the component that is the baseline itself."""
    kept = [name for name in low if name != baseline]
    total = compound_range([low[n] for n in kept], [high[n] for n in kept])
    if len(kept) == len(low):
        return Recomputed(total.values, f"{baseline} is not in the table.")
    return Recomputed(
        total.values,
        f"{span(total.values)} without it.",
        "contradicts",
        f"contradicts the ablation, whose baseline is the {baseline}: counted twice",
    )


def additive_total(
    stated: Sequence[float], low: Sequence[float], high: Sequence[float], rejected_in: str
) -> Recomputed:
    """Whether a stated range is the plain sum of a table's columns."""
    sums = (math.fsum(low), math.fsum(high))
    if all(math.isclose(a, b, abs_tol=5e-3) for a, b in zip(stated, sums, strict=True)):
        return Recomputed(
            sums,
            "The ends are the additive sums of the table's columns.",
            "contradicts",
            f"contradicts {rejected_in!r}: it uses arithmetic that the seed analysis rejects",
        )
    return Recomputed(sums)


def inside_own_ranges(stated: float, ranges: Mapping[str, Mapping[str, Any]]) -> Recomputed:
    """Whether a value that the seed analysis calls unrealistic lies inside its own tables."""
    totals = {name: compound_range(**table).values for name, table in ranges.items()}
    around = [n for n, (low, high) in totals.items() if low <= stated <= high]
    shown = ", ".join(f"{n} {span(totals[n])}" for n in around)
    if around:
        return Recomputed(
            (stated,),
            "",
            "contradicts",
            f"contradicts its own tables: inside {shown}",
        )
    return Recomputed((stated,), "Outside every table of the seed analysis.", "holds", "holds")


def ranges_agree(stated: Ranges, tables: Mapping[str, Mapping[str, Any]]) -> Recomputed:
    """Whether ranges stated for one and the same quantity are the same range."""
    totals = {name: compound_range(**table).values for name, table in tables.items()}
    shown = ", ".join(f"{name} {span(ends)}" for name, ends in totals.items())
    distinct = {tuple(ends) for ends in stated.values()}
    if len(distinct) > 1:
        spans = ", ".join(f"{name} {span(ends, 0)}" for name, ends in stated.items())
        return Recomputed(
            (),
            f"Its tables give {shown}.",
            "contradicts",
            f"mutually inconsistent: {spans}",
        )
    return Recomputed((), f"Its tables give {shown}.", "holds", "holds")
