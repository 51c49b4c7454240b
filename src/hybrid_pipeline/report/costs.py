"""Means over cells: what an arm costs, how deep it thinks, what its parts do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

from hybrid_pipeline.report.inputs import CellRecord, ReportInputs
from hybrid_pipeline.report.wording import DASH, NONE, count
from hybrid_pipeline.stats.results import MEAN_TASK


@dataclass(frozen=True)
class ArmCost:
    """What one arm costs on one task, or on all of them.

    Attributes:
        parameters: smallest and largest number over the cells, without the frozen tower's.
        flops: mean floating-point operations of a forward pass on one example.
        steps: mean supervision steps where the DQN halts; all of them without one.
    """

    parameters: tuple[int, int] | None
    flops: float | None
    steps: float | None


def arm_cost(inputs: ReportInputs, arm: str, task: str = MEAN_TASK) -> ArmCost:
    """The cost of an arm on one task, or over all of them."""
    cells = cells_of(inputs, arm, task)
    return ArmCost(
        parameters=_span(c.parameters for c in cells),
        flops=mean_of(cells, lambda c: c.flops_per_example),
        steps=mean_of(cells, lambda c: c.mean_steps),
    )


def cells_of(inputs: ReportInputs, arm: str, task: str = MEAN_TASK) -> list[CellRecord]:
    """The records of an arm on one task, or on every task."""
    return [c for c in inputs.cells if c.arm == arm and task in (c.task, MEAN_TASK)]


def mean_of(
    cells: Iterable[CellRecord], read: Callable[[CellRecord], float | None]
) -> float | None:
    """The mean of the values that exist; ``None`` if no cell has one."""
    values = [v for v in map(read, cells) if v is not None]
    return fmean(values) if values else None


def span_text(span: tuple[int, int] | None) -> str:
    """Parameters as ``213 k``, or a range where the tasks differ."""
    if span is None:
        return NONE
    low, high = count(span[0]), count(span[1])
    return low if low == high else f"{low}{DASH}{high}"


def _span(values: Iterable[int | None]) -> tuple[int, int] | None:
    known = [v for v in values if v is not None]
    return (min(known), max(known)) if known else None
