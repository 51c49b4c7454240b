"""What "benefit" means: the measures of one accuracy against another.

Each returns ``None`` if it is not defined, never NaN.
"""

from __future__ import annotations

import math


def error_reduction(new: float, old: float) -> float | None:
    """Headroom captured: 1 - (1-a1)/(1-a0)."""
    return 1 - (1 - new) / (1 - old) if old < 1 else None


def log_odds(new: float, old: float) -> float | None:
    """Difference of log-odds: logit a1 - logit a0."""
    if not (0 < new < 1 and 0 < old < 1):
        return None
    return math.log(new / (1 - new)) - math.log(old / (1 - old))


def kappa(accuracy: float, chance: float) -> float | None:
    """Chance-corrected accuracy (a-c)/(1-c)."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else None


def ceiling_gain(baseline: float) -> float | None:
    """The largest relative gain that a baseline allows: accuracy cannot pass 1."""
    return 1 / baseline - 1 if baseline > 0 else None


def ceiling_baseline(gain: float) -> float:
    """The largest baseline at which a relative gain g is possible: 1/(1+g)."""
    return 1 / (1 + gain)
