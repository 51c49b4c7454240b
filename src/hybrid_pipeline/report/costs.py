"""Means over cells: what an arm costs, how deep it thinks, what its parts do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

from hybrid_pipeline.report.inputs import CellRecord, ReportInputs
from hybrid_pipeline.report.wording import DASH, NONE, TONES, count
from hybrid_pipeline.stats.results import MEAN_TASK, Effect


@dataclass(frozen=True)
class ArmCost:
    """What one arm costs on one task, or on all of them.

    Attributes:
        trainable: smallest and largest number of trained parameters over the cells.
        flops: mean floating-point operations of a forward pass on one example.
        minutes: training time of one seed, summed over the tasks.
        steps: mean supervision steps where the DQN halts; all of them without one.
    """

    trainable: tuple[int, int] | None
    total: tuple[int, int] | None
    flops: float | None
    minutes: float | None
    steps: float | None


def arm_cost(inputs: ReportInputs, arm: str, task: str = MEAN_TASK) -> ArmCost:
    """The cost of an arm; with ``task`` "mean", minutes are summed over the tasks."""
    cells = cells_of(inputs, arm, task)
    return ArmCost(
        trainable=_span(c.parameters_trainable for c in cells),
        total=_span(c.parameters_total for c in cells),
        flops=mean_of(cells, lambda c: c.flops_per_example),
        minutes=_minutes_per_seed(cells),
        steps=mean_of(cells, lambda c: c.mean_steps),
    )


def cells_of(inputs: ReportInputs, arm: str, task: str = MEAN_TASK) -> list[CellRecord]:
    """The records of an arm on one task, or on every task."""
    return [c for c in inputs.cells if c.arm == arm and task in (c.task, MEAN_TASK)]


def mean_of(
    cells: Iterable[CellRecord], read: Callable[[CellRecord], float | None]
) -> float | None:
    """The mean of the values that exist; ``None`` where no cell has one."""
    values = [v for v in map(read, cells) if v is not None]
    return fmean(values) if values else None


def minutes_per_point(effect: Effect, before: float | None, after: float | None) -> float | None:
    """Extra minutes of training for each point gained; only where the verdict is a gain.

    Args:
        effect: the comparison whose difference is paid for.
        before: minutes of the arm compared with; ``after``: of the arm.
        after: minutes of the arm.
    """
    if TONES[effect.verdict_code] != "gain" or effect.difference is None:
        return None
    if before is None or after is None or effect.difference.estimate <= 0:
        return None
    return (after - before) / (100 * effect.difference.estimate)


def span_text(span: tuple[int, int] | None) -> str:
    """Parameters as ``213 k``, or a range where the tasks differ."""
    if span is None:
        return NONE
    low, high = count(span[0]), count(span[1])
    return low if low == high else f"{low}{DASH}{high}"


def _span(values: Iterable[int | None]) -> tuple[int, int] | None:
    known = [v for v in values if v is not None]
    return (min(known), max(known)) if known else None


def _minutes_per_seed(cells: list[CellRecord]) -> float | None:
    """Mean over seeds for every task, summed over the tasks."""
    by_task: dict[str, list[float]] = {}
    for cell in cells:
        if cell.training_seconds is not None:
            by_task.setdefault(cell.task, []).append(cell.training_seconds)
    if not by_task or len(by_task) < len({c.task for c in cells}):
        return None
    return sum(fmean(seconds) for seconds in by_task.values()) / 60
