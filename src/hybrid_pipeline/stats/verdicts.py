"""From an effect to the words that may be printed about it; delta is preregistered."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_pipeline.stats.results import Interval, VerdictCode


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        difference: interval at level 1 - alpha; ``None`` if the effect is not evaluable.
        equivalence_interval: interval at level 1 - 2 alpha.
        p_adjusted: p adjusted over its family.
        p_tost: p of the equivalence test against delta.
        mde80: smallest effect found with 80 % power.
        seeds_needed: seeds for delta with 80 % power; ``None`` if examples are too few.
        reason: why the effect is not evaluable.
    """

    difference: Interval | None
    equivalence_interval: Interval | None
    p_adjusted: float | None
    p_tost: float | None
    mde80: float | None
    seeds_needed: int | None
    reason: str = ""


def decide(evidence: Evidence, *, delta: float, alpha: float) -> tuple[VerdictCode, str]:
    """The verdict of one effect.

    Args:
        evidence: intervals, p values and power.
        delta: smallest effect of interest, a fraction of accuracy.
        alpha: two-sided level; 1 minus the level of the intervals.
    """
    e = evidence
    if e.difference is None or e.equivalence_interval is None or e.p_adjusted is None:
        return "not_evaluable", f"not evaluable: {e.reason}"
    if e.p_adjusted < alpha:
        return _direction(e.difference, e.equivalence_interval, delta)
    if e.p_tost is not None and e.p_tost < alpha:
        return "no_meaningful_effect", f"no meaningful effect (within {points(delta)})"
    if e.mde80 is not None and e.mde80 <= delta:
        return "no_detectable_effect", "no detectable effect at this power"
    return "underpowered", _underpowered(e, delta)


def _direction(
    difference: Interval, equivalence_interval: Interval, delta: float
) -> tuple[VerdictCode, str]:
    if difference.estimate > 0:
        if difference.low > delta:
            return "helps_by_delta", f"helps by at least {points(delta)}"
        if equivalence_interval.high < delta:
            return "helps_below_delta", f"helps, but by less than {points(delta)}"
        return "helps", "helps"
    if difference.high < -delta:
        return "hurts_by_delta", f"hurts by at least {points(delta)}"
    if equivalence_interval.low > -delta:
        return "hurts_below_delta", f"hurts, but by less than {points(delta)}"
    return "hurts", "hurts"


def _underpowered(evidence: Evidence, delta: float) -> str:
    mde80 = evidence.mde80 or 0.0
    what = f"{points(mde80)} or more" if mde80 <= 1 else "not even a difference of 100 points"
    found = f"underpowered: finds {what}"
    if evidence.seeds_needed is None:
        return f"{found}; more seeds alone cannot find {points(delta)}, more examples are needed"
    return f"{found}; {points(delta)} would need about {evidence.seeds_needed} seeds at this noise"


def smallest_found(mde80: float) -> str:
    """The smallest difference found with 80 % power; accuracies differ by 100 points at most."""
    return points(mde80) if mde80 <= 1 else "more than 100 points"


def points(value: float) -> str:
    """A fraction of accuracy as percentage points."""
    text = f"{100 * value:.2g}" if abs(value) < 0.1 else f"{100 * value:.1f}"
    return f"{text} {'point' if text == '1' else 'points'}"


def beats_control(
    difference: Interval | None, p_adjusted: float | None, alpha: float
) -> tuple[bool | None, str]:
    """Whether an arm beats the control matched to it, or loses to it.

    Args:
        difference: arm minus control.
        p_adjusted: p adjusted over the controls of the study.
        alpha: two-sided level.
    """
    if difference is None or p_adjusted is None:
        return None, "not evaluable"
    if p_adjusted >= alpha:
        return False, "does not beat its control"
    if difference.estimate > 0:
        return True, "beats its control"
    return False, "loses to its control"
