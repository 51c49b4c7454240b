"""Do benefits compound? Additive and multiplicative predictions, measured total, interaction.

The chain of arms cannot say: its stage ratios telescope to the total by identity. Isolated
gains (the factorial design) can, up to the precedence that N2N needs CLIP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hybrid_pipeline.stats.coalitions import Coalition, Game, interaction_coalitions
from hybrid_pipeline.stats.contrasts import contrast_interval, exponentiate
from hybrid_pipeline.stats.measures import log_odds
from hybrid_pipeline.stats.results import Compound, Interval, StageRatio
from hybrid_pipeline.stats.scores import ScoreMatrix

IDENTITY_NOTE = (
    "The product of the stage ratios equals the total by identity; it is not evidence that "
    "benefits compound."
)
NO_ISOLATED_NOTE = "Isolated gains were not measured, so no interaction can be tested."


@dataclass(frozen=True)
class Predictions:
    """Total ratios v(full)/v(empty) as predicted from isolated gains, and as measured."""

    additive: float
    multiplicative: float
    logit_additive: float | None
    predicted_log_odds: float | None
    measured: float
    measured_log_odds: float | None


def predict(value: Callable[[Coalition], float], game: Game) -> Predictions:
    """The additive, multiplicative and log-odds predictions beside the measured total.

    Args:
        value: accuracy of a coalition, above 0.
        game: players and precedence; a component that requires another is isolated on top of it.
    """
    full, empty = frozenset(game.players), frozenset[str]()
    base, total = value(empty), value(full)
    pairs = [(value(a), value(b)) for a, b in map(game.isolated, game.players)]
    logits = [log_odds(a, b) for a, b in pairs]
    known = [x for x in logits if x is not None]
    gain = math.fsum(known) if len(known) == len(pairs) and 0 < base < 1 else None
    predicted = None
    if gain is not None:
        odds = base / (1 - base) * math.exp(gain)
        predicted = odds / (1 + odds) / base
    return Predictions(
        additive=1 + math.fsum(a - b for a, b in pairs) / base,
        multiplicative=math.prod(a / b for a, b in pairs),
        logit_additive=predicted,
        predicted_log_odds=gain,
        measured=total / base,
        measured_log_odds=log_odds(total, base),
    )


def compound(
    matrix: ScoreMatrix,
    chain: Sequence[str],
    game: Game,
    group: tuple[str, tuple[str, ...]],
    *,
    level: float,
) -> Compound:
    """The compound estimate of a chain on a group of tasks.

    Nothing is printed for a chain with a hole: an arm without any seed that all arms share.

    Args:
        matrix: scores.
        chain: the cumulative arms in order.
        game: the measured coalitions.
        group: a label and its tasks; ratios are geometric means over the tasks.
        level: of the intervals.
    """
    label, tasks = group
    hole = _hole(matrix, chain, tasks)
    if hole:
        return Compound(task=label, note=f"No compound figure: {hole}.")
    log_means = _log_means(matrix, chain, tasks)
    if log_means is None:
        return Compound(task=label, note="Not defined: an arm has accuracy 0.")
    stages = tuple(
        StageRatio(arm=new, reference=old, ratio=math.exp(log_means[new] - log_means[old]))
        for old, new in pairwise(chain)
    )
    log_total = contrast_interval(
        matrix, {chain[-1]: 1.0, chain[0]: -1.0}, tasks, "log", level=level
    )
    side_by_side, note = _side_by_side(matrix, game, tasks, level)
    return Compound.model_validate(
        {
            "task": label,
            "stages": stages,
            "sequential_product": math.prod(stage.ratio for stage in stages),
            "total": exponentiate(log_total),
            "note": f"{IDENTITY_NOTE} {note}",
            **side_by_side,
        }
    )


def _hole(matrix: ScoreMatrix, chain: Sequence[str], tasks: Sequence[str]) -> str:
    """What is missing from the chain; empty if every arm has every seed."""
    short = [arm for arm in chain if not matrix.present([arm], tasks).all()]
    return f"the chain has a hole at {', '.join(short)}" if short else ""


def _log_means(
    matrix: ScoreMatrix, chain: Sequence[str], tasks: Sequence[str]
) -> dict[str, float] | None:
    """Arm -> mean over tasks of the log accuracy; ``None`` if an accuracy is 0."""
    result = {}
    for arm in chain:
        accuracies = [float(matrix.values[arm, task].mean()) for task in tasks]
        if min(accuracies) <= 0:
            return None
        result[arm] = float(np.mean(np.log(accuracies)))
    return result


def _side_by_side(
    matrix: ScoreMatrix, game: Game, tasks: tuple[str, ...], level: float
) -> tuple[dict[str, object], str]:
    """Predictions and interaction if isolated gains exist, and the sentence about them."""
    weights = game.weights(interaction_coalitions(game)) if len(game.players) > 1 else None
    needed = [c for pair in map(game.isolated, game.players) for c in pair]
    if weights is None or any(c not in game.arm_of for c in needed):
        return {}, NO_ISOLATED_NOTE
    arms = sorted({game.arm_of[c] for c in [*needed, frozenset(game.players)]})
    if not matrix.present(arms, tasks).any():
        return {}, "The isolated arms have no seed in common."
    log = contrast_interval(matrix, weights, tasks, "log", level=level)
    figures: dict[str, object] = {
        "interaction": log,
        "interaction_logit": contrast_interval(matrix, weights, tasks, "logit", level=level),
        **_predicted_over_tasks(matrix, game, arms, tasks),
    }
    return figures, _interaction_note(log)


def _predicted_over_tasks(
    matrix: ScoreMatrix, game: Game, arms: Sequence[str], tasks: tuple[str, ...]
) -> dict[str, float | None]:
    """Geometric means over tasks of the predicted and measured ratios."""
    mask = matrix.present(arms, tasks)
    per_task = []
    for task in tasks:
        values = {
            coalition: float(matrix.values[arm, task][mask].mean())
            for coalition, arm in game.arm_of.items()
            if arm in arms
        }
        if min(values.values()) <= 0:
            return {}
        per_task.append(predict(values.__getitem__, game))
    return {
        name: _over_tasks([getattr(p, name) for p in per_task], ratio=not name.endswith("odds"))
        for name in Predictions.__dataclass_fields__
    }


def _over_tasks(values: Sequence[float | None], *, ratio: bool) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or (ratio and min(known) <= 0):
        return None
    return float(np.exp(np.mean(np.log(known)))) if ratio else float(np.mean(known))


def _interaction_note(interaction: Interval | None) -> str:
    if interaction is None:
        return "The interaction is not evaluable."
    if interaction.low > 0:
        return "Measured together, the components gain more than their isolated gains multiply to."
    if interaction.high < 0:
        return "Measured together, the components gain less than their isolated gains multiply to."
    return "The interaction's interval contains 0: no departure from multiplying gains is shown."
