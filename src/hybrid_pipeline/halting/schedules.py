"""Annealed hyperparameters as pure functions of progress through training."""

from __future__ import annotations


def anneal(start: float, end: float, progress: float) -> float:
    """Linear from ``start`` at progress 0 to ``end`` at progress 1, constant outside."""
    share = min(max(progress, 0.0), 1.0)
    return start + (end - start) * share


def progress_after(warmup_ratio: float, progress: float) -> float:
    """Progress through what follows the warm-up: 0 until it ends, 1 at the end of training."""
    if progress <= warmup_ratio or warmup_ratio >= 1:
        return 0.0
    return min((progress - warmup_ratio) / (1.0 - warmup_ratio), 1.0)
