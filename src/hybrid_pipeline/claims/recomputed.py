"""What a recomputation of a stated figure returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_pipeline.stats.results import ClaimCode


@dataclass(frozen=True)
class Recomputed:
    """What a recomputation found.

    Attributes:
        values: one value, or the low and high end of a range.
        detail: a sentence about it.
        code: the verdict, if comparing with the stated value does not decide it.
        verdict: the words of that verdict.
        unit: of ``values`` if it differs from the statement's.
    """

    values: tuple[float, ...] = ()
    detail: str = ""
    code: ClaimCode | None = None
    verdict: str = ""
    unit: str | None = None


def percent(value: float, decimals: int = 1) -> str:
    """A fraction as a percentage."""
    return f"{100 * value:.{decimals}f} %"


def span(ends: Sequence[float], decimals: int = 1) -> str:
    """A range of relative gains."""
    return f"{100 * ends[0]:+.{decimals}f} to {100 * ends[1]:+.{decimals}f} %"
