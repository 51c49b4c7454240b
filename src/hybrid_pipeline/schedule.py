"""The rate of an update: a linear warm-up, then a fall."""

from __future__ import annotations

import math
from typing import Literal

Fall = Literal["cosine", "linear", "constant"]


def scheduled_rate(
    peak: float,
    step: int,
    num_steps: int,
    *,
    warmup: int,
    floor: float = 0.0,
    fall: Fall = "cosine",
) -> float:
    """Rate of update ``step``.

    The cosine is that of Loshchilov and Hutter (2017), equation 5, without restarts.

    Args:
        peak: reached by the last update of the warm-up.
        step: from 0.
        num_steps: updates of the run.
        warmup: updates of the warm-up.
        floor: where the fall ends, as a share of the peak.
        fall: its shape; ``constant`` does not fall.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if fall == "constant":
        return peak
    done = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    left = 0.5 * (1 + math.cos(math.pi * done)) if fall == "cosine" else 1 - done
    return peak * (floor + (1 - floor) * left)
